//! The NATS adapter: the only package that names NATS. It translates the ports of `stepmill-protocol` into subjects,
//! streams and consumers, and decides nothing. Everything it gives out is in our own types or plain bytes.

mod connect;
mod error;
mod log;
mod mux;
mod publish;
mod reader;
mod request;
pub mod stream;
pub mod subject;
mod tasks;
mod wire;

pub use connect::{Auth, Nats, NatsOptions, SERVER_FLOOR};
pub use error::NatsError;
pub use log::{Append, Log, LogMessage, LogReader, SnapshotReader};
pub use publish::{Outgoing, Stored};
pub use reader::Start;
pub use request::ReplyWait;
pub use stream::{StreamOptions, StreamState};
pub use tasks::{TaskMessage, TaskQueues};
