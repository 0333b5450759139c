//! Port: the CloudEvents of all namespaces, in one order. Kept for days; nothing is removed by being read.

use std::sync::Arc;

use async_trait::async_trait;
use stepmill_protocol::{CloudEvent, Namespace, Timestamp};

use super::queue::QueueError;

/// Where an event lies among all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// When it was stored.
    pub at: Timestamp,
    /// Its sequence. 0: only the time is known.
    pub seq: u64,
}

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

impl EventMessage {
    /// Where it lies.
    #[must_use]
    pub fn place(&self) -> EventPlace {
        EventPlace { at: self.at, seq: self.seq }
    }
}

/// The events.
#[async_trait]
pub trait Events: Send + Sync + 'static {
    /// Stores an event; true when it is new. One with the source and id of another one is stored once within the time that ids are
    /// remembered, ten minutes at least.
    async fn publish(&self, namespace: &Namespace, event: &CloudEvent) -> Result<bool, QueueError>;

    /// Opens a reader of all events behind the one at this place. Where none lies there (only the time is known, it is too old to be kept, the
    /// events lost their end or were made anew): of all that were stored at this time or later.
    async fn read(&self, behind: EventPlace) -> Result<Box<dyn EventReader>, QueueError>;
}

/// Reads events in order.
#[async_trait]
pub trait EventReader: Send {
    /// Waits for at least one event and returns what is there, up to the limits. After an error the reader is of no use.
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<EventMessage>, QueueError>;
}
