//! The ports over `stepmill-nats`: they translate and decide nothing.

mod archive;
mod bus;
mod events;
mod interest;
mod jobs;
mod life;
mod log;
mod tasks;

use stepmill_nats::{Nats, NatsError, StreamOptions};

use crate::port::queue::QueueError;
use crate::port::store::Store;
use crate::shared::Ports;

pub use archive::NatsArchive;
pub use bus::NatsBus;
pub use events::NatsEvents;
pub use jobs::NatsJobs;
pub use life::NatsLife;
pub use log::NatsLog;
pub use tasks::NatsTasks;

/// Creates or checks the streams and gives all ports of a coordinator on NATS and this store.
///
/// # Errors
/// [`QueueError`] when a stream cannot be made or has a setting that is wrong and cannot be changed.
pub async fn ports(nats: Nats, options: StreamOptions, store: std::sync::Arc<dyn Store>) -> Result<Ports, QueueError> {
    use std::sync::Arc;

    nats.ensure_streams(&options).await.map_err(error)?;
    Ok(Ports {
        store,
        log: Arc::new(NatsLog::new(nats.clone())),
        tasks: Arc::new(NatsTasks::serve(nats.clone(), options).await?),
        jobs: Some(Arc::new(NatsJobs::new(nats.clone()).await?)),
        events: Arc::new(NatsEvents::new(nats.clone())),
        life: Arc::new(NatsLife::new(nats.clone())),
        archive: Arc::new(NatsArchive::new(nats.clone())),
        bus: Arc::new(NatsBus::new(nats)),
    })
}

fn error(e: NatsError) -> QueueError {
    QueueError { retryable: e.is_retryable(), message: e.to_string() }
}

fn unreadable(e: impl std::fmt::Display) -> QueueError {
    QueueError { message: e.to_string(), retryable: false }
}
