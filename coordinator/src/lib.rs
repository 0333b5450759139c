//! The coordinator: a thin shell around the engine. Every event of every run is first appended to the log, then folded in log
//! order, then committed; only after that commit is anything promised to anyone.

mod api;
mod clock;
mod config;
mod health;
mod http;
mod intake;
mod lease;
mod measures;
mod partition;
mod plans;
pub mod port;
pub mod queue;
mod shared;
mod start;
pub mod store;
mod vitals;

pub use clock::{Clock, SystemClock};
pub use config::CoordinatorConfig;
pub use shared::Ports;
pub use start::{Coordinator, Running, StartError};
