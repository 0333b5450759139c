//! The ports of the coordinator: what it needs from a store, a log, task queues and a bus. Two sets of adapters stand behind
//! them: `redis` + `nats`, and `embedded`. Adapters translate; they decide nothing.

pub mod bus;
pub mod event;
pub mod life;
pub mod queue;
pub mod store;
