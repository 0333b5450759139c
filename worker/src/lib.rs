//! The worker SDK: write a step as an async function, register it, and run it against any broker.
//!
//! A complete worker. The broker here is the one in memory; `stepmill-nats` and the embedded system bring the others:
//!
//! ```
//! use std::sync::Arc;
//! use serde::{Deserialize, Serialize};
//! use stepmill_worker::{Context, Failure, Worker, testing::MemoryLink};
//!
//! #[derive(Deserialize)]
//! struct Order { amount: u64 }
//! #[derive(Serialize)]
//! struct Receipt { paid: u64, key: String }
//!
//! async fn charge(ctx: Context, order: Order) -> Result<Receipt, Failure> {
//!     Ok(Receipt { paid: order.amount, key: ctx.idempotency_key().to_owned() })
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let link = MemoryLink::default();
//! link.push("charge", serde_json::json!({ "amount": 7 }));
//! let worker = Worker::builder(Arc::new(link.clone())).pool("default").slots(8).step("charge", charge);
//! worker.run(link.until_settled(1)).await?;
//! assert_eq!(link.outputs()[0]["paid"], 7);
//! # Ok::<(), stepmill_worker::WorkerError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a worker decides lies in `stepmill-worker-engine`; here is what carries it out. A step runs at least once: a
//! worker acks a task only after its report is stored, and a task whose worker died comes again.

mod clock;
mod config;
mod context;
mod counters;
mod failure;
mod handler;
mod health;
mod heartbeat;
mod histogram;
mod measures;
mod net;
mod perform;
mod pool;
mod registry;
mod runner;
mod secret;
mod vitals;
mod worker;

pub mod builtin;
pub mod limit;
pub mod retry;
pub mod shutdown;
pub mod testing;

pub use config::WorkerError;
pub use context::Context;
pub use counters::{Counters, Counts};
pub use failure::{Failure, ResultExt, with_sources};
pub use handler::Handler;
pub use health::Health;
pub use registry::Duplicate;
pub use secret::{Secrets, hide_secret};
pub use worker::{Worker, WorkerBuilder};

pub use stepmill_protocol as protocol;
pub use tokio_util::sync::CancellationToken;
