//! Life-cycle events over core NATS.

use async_trait::async_trait;
use stepmill_nats::{LifeReader, Nats};

use super::error;
use crate::port::life::{Life, LifeHearer, LifeMessage, LifeWanted};
use crate::port::queue::QueueError;

/// Life-cycle events over this connection.
pub struct NatsLife {
    nats: Nats,
}

impl NatsLife {
    /// Over this connection.
    #[must_use]
    pub const fn new(nats: Nats) -> Self {
        Self { nats }
    }
}

#[async_trait]
impl Life for NatsLife {
    fn is_wanted(&self) -> bool {
        // Only the server knows who subscribes.
        true
    }

    async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), QueueError> {
        let events = events.into_iter().map(|event| {
            let LifeMessage { namespace, workflow, run, body } = event;
            stepmill_nats::LifeMessage { namespace, workflow, run, body }
        });
        self.nats.tell(events.collect()).await.map_err(error)
    }

    async fn hear(&self, wanted: LifeWanted) -> Result<Box<dyn LifeHearer>, QueueError> {
        let LifeWanted { namespace, workflow, run } = wanted;
        let reader = self.nats.hear(&namespace, workflow.as_ref(), run).await.map_err(error)?;
        Ok(Box::new(Hearer(reader)))
    }
}

struct Hearer(LifeReader);

#[async_trait]
impl LifeHearer for Hearer {
    async fn next(&mut self) -> Option<Result<LifeMessage, QueueError>> {
        let stepmill_nats::LifeMessage { namespace, workflow, run, body } = self.0.next().await?;
        Some(Ok(LifeMessage { namespace, workflow, run, body }))
    }
}
