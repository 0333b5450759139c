//! Life-cycle events on `sm.life.<namespace>.<workflow>.<run>`: plain messages, which the server hands to whoever subscribes.

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use stepmill_protocol::{Namespace, RunId, WorkflowName};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::subject;

/// One event and whose it is.
#[derive(Clone, Debug)]
pub struct LifeMessage {
    /// Its tenant.
    pub namespace: Namespace,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Its run.
    pub run: RunId,
    /// The event, JSON.
    pub body: Bytes,
}

/// A subscription.
#[derive(Debug)]
pub struct LifeReader {
    subscriber: Subscriber,
}

impl Nats {
    /// Sends events in order and waits until the server has heard them all.
    ///
    /// # Errors
    /// [`NatsError`] when it may not have.
    pub async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), NatsError> {
        for LifeMessage { namespace, workflow, run, body } in events {
            self.publish(&subject::life(&namespace, &workflow, run), body).await?;
        }
        self.settled().await
    }

    /// Hears the events of a namespace from now on, of one workflow or run if said.
    ///
    /// # Errors
    /// [`NatsError`] when the connection is gone.
    pub async fn hear(
        &self,
        namespace: &Namespace,
        workflow: Option<&WorkflowName>,
        run: Option<RunId>,
    ) -> Result<LifeReader, NatsError> {
        let what = subject::life_of(namespace, workflow, run);
        let subscriber = self
            .inner
            .client
            .subscribe(what.clone())
            .await
            .map_err(|_| NatsError::Disconnected { what: format!("the subscription of {what}") })?;
        // Whatever is told after this is heard.
        self.settled().await?;
        Ok(LifeReader { subscriber })
    }
}

impl LifeReader {
    /// The next event; none when the connection is closed. Messages on subjects that nobody of ours sends are passed over.
    pub async fn next(&mut self) -> Option<LifeMessage> {
        loop {
            let message = self.subscriber.next().await?;
            if let Some((namespace, workflow, run)) = subject::parse_life(&message.subject) {
                return Some(LifeMessage { namespace, workflow, run, body: message.payload });
            }
        }
    }
}
