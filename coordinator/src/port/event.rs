//! Port: the CloudEvents of all namespaces, in one order. Kept for days; nothing is removed by being read.

use std::sync::Arc;

use async_trait::async_trait;
use stepmill_protocol::{CloudEvent, Namespace, Timestamp};

use super::queue::QueueError;

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct EventMessage {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// Its size.
    pub bytes: usize,
    /// Whose it is, and what it says; or why that cannot be read.
    pub event: Result<(Namespace, Arc<CloudEvent>), String>,
}

/// The events.
#[async_trait]
pub trait Events: Send + Sync + 'static {
    /// Stores an event; true when it is new. One with the source and id of another one is stored once within the time that ids are
    /// remembered, ten minutes at least.
    async fn publish(&self, namespace: &Namespace, event: &CloudEvent) -> Result<bool, QueueError>;

    /// Opens a reader of all events that were stored at this time or later.
    async fn read(&self, from: Timestamp) -> Result<Box<dyn EventReader>, QueueError>;
}

/// Reads events in order.
#[async_trait]
pub trait EventReader: Send {
    /// Waits for at least one event and returns what is there, up to the limits. After an error the reader is of no use.
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<EventMessage>, QueueError>;
}
