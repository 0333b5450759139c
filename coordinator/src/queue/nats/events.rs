//! The events in `SM_EVENTS`.

use std::sync::Arc;

use async_trait::async_trait;
use stepmill_nats::{Nats, Start};
use stepmill_protocol::{CloudEvent, Namespace};

use super::error;
use crate::port::event::{EventMessage, EventPlace, EventReader, Events};
use crate::port::queue::QueueError;

/// The events in `SM_EVENTS`.
pub struct NatsEvents {
    events: stepmill_nats::Events,
}

impl NatsEvents {
    /// The events that this connection reaches; their stream must exist.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { events: stepmill_nats::Events::new(nats) }
    }
}

#[async_trait]
impl Events for NatsEvents {
    async fn publish(&self, namespace: &Namespace, event: &CloudEvent) -> Result<bool, QueueError> {
        Ok(!self.events.publish(namespace, event).await.map_err(error)?.duplicate)
    }

    async fn read(&self, behind: EventPlace) -> Result<Box<dyn EventReader>, QueueError> {
        let EventPlace { at, seq } = behind;
        let stands = seq > 0 && self.events.time_of(seq).await.map_err(error)? == Some(at);
        let start = if stands { Start::Seq(seq.saturating_add(1)) } else { Start::Time(at) };
        Ok(Box::new(Reader(self.events.reader(start).await.map_err(error)?)))
    }
}

struct Reader(stepmill_nats::EventReader);

#[async_trait]
impl EventReader for Reader {
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<EventMessage>, QueueError> {
        let batch = self.0.next_batch(max, max_bytes).await.map_err(error)?;
        Ok(batch.into_iter().map(message).collect())
    }
}

fn message(message: stepmill_nats::EventMessage) -> EventMessage {
    let stepmill_nats::EventMessage { seq, time, bytes, event } = message;
    EventMessage { seq, at: time, bytes, event: event.map(|(namespace, event)| (namespace, Arc::new(event))) }
}
