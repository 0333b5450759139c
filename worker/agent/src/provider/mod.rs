//! The shell around the wire formats: services over HTTP, the table of them, and cassettes.

mod cassette;
mod key;
mod service;
mod table;
mod transport;

pub use cassette::{Cassette, CassetteError, CassetteMode, CassetteSetting};
pub use key::KeyRef;
pub use service::{Service, Timeouts};
pub use table::{Found, Providers, SetupError};
pub use transport::{Body, Http, Reply, Send, Transport};
