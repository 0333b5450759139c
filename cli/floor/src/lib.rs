//! The floor: the least that one durable step between two processes can cost on NATS JetStream and Redis. A coordinator
//! stores a task message, a worker takes it, stores a result message and acks the task; the coordinator takes the result,
//! does one compare-and-set in Redis, and stores the next task. There is nothing else: no definitions, no engine, no leases,
//! no recovery. What Stepmill itself reaches is measured against it, so it names the servers' clients without our adapters.

mod coordinator;
mod error;
mod layout;
mod mark;
mod pass;
mod store;
mod variant;
mod wire;
mod worker;

pub use coordinator::Coordinator;
pub use error::FloorError;
pub use pass::{Load, Outcome};
pub use store::memory_used;
pub use variant::Variant;
pub use worker::work;
