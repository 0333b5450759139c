//! The NATS adapter: the only package that names NATS. It translates the ports of `stepmill-protocol` into subjects,
//! streams and consumers, and decides nothing. Everything it gives out is in our own types or plain bytes.

mod caller;
mod connect;
mod dead;
mod defs;
mod depth;
mod error;
mod events;
mod heartbeat;
mod jobs;
mod life;
mod link;
mod log;
mod mux;
mod publish;
mod pull;
mod reader;
mod request;
mod serve;
pub mod stream;
pub mod subject;
mod tasks;
mod wire;

pub use caller::NatsApiCaller;
pub use connect::{Auth, Nats, NatsOptions, SERVER_FLOOR};
pub use defs::StoredDefinition;
pub use depth::TaskDepth;
pub use error::NatsError;
pub use events::{EventMessage, EventReader, Events};
pub use jobs::{Job, JobAck, JobSettler, Jobs};
pub use life::{LifeMessage, LifeReader};
pub use link::NatsWorkerLink;
pub use log::{Append, Log, LogMessage, LogReader, SnapshotReader};
pub use publish::{Outgoing, Stored};
pub use reader::Start;
pub use request::ReplyWait;
pub use serve::{ApiCall, ApiHandler, OwnerHandler, Serving};
pub use stream::{StreamOptions, StreamState};
pub use tasks::{TaskMessage, TaskQueues};
