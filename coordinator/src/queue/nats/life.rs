//! Life-cycle events over core NATS.

use std::collections::HashSet;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use stepmill_nats::{LifeReader, Nats};
use stepmill_protocol::{Namespace, WorkflowName};

use super::error;
use super::interest::Interest;
use crate::port::life::{Life, LifeHearer, LifeMessage, LifeWanted};
use crate::port::queue::QueueError;

/// Life-cycle events over this connection.
pub struct NatsLife {
    nats: Nats,
    interest: Mutex<Interest>,
}

impl NatsLife {
    /// Over this connection.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { nats, interest: Mutex::default() }
    }
}

#[async_trait]
impl Life for NatsLife {
    fn is_wanted(&self, namespace: &Namespace, workflow: &WorkflowName) -> bool {
        self.interest.lock().may_be(namespace, workflow, Instant::now())
    }

    async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), QueueError> {
        let told: HashSet<_> = events.iter().map(|e| (e.namespace.clone(), e.workflow.clone())).collect();
        let events = events.into_iter().map(|event| {
            let LifeMessage { namespace, workflow, run, body } = event;
            stepmill_nats::LifeMessage { namespace, workflow, run, body }
        });
        let unheard = self.nats.tell(events.collect()).await.map_err(error)?;
        self.interest.lock().told(told, &unheard, Instant::now());
        Ok(())
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
