//! Life-cycle events on `sm.life.<namespace>.<workflow>.<run>`: plain messages, which the server hands to whoever subscribes.

use std::collections::HashMap;

use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
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
    /// Sends events in order and waits until the server has heard them all. Gives the workflows of which nobody was there to hear the
    /// last one: that one goes out with a reply subject, and the server says at once where nobody subscribes.
    ///
    /// # Errors
    /// [`NatsError`] when it may not have.
    pub async fn tell(&self, events: Vec<LifeMessage>) -> Result<Vec<(Namespace, WorkflowName)>, NatsError> {
        let mut last: HashMap<(Namespace, WorkflowName), usize> = HashMap::new();
        for (number, event) in events.iter().enumerate() {
            last.insert((event.namespace.clone(), event.workflow.clone()), number);
        }
        let mut asked = Vec::with_capacity(last.len());
        for (number, LifeMessage { namespace, workflow, run, body }) in events.into_iter().enumerate() {
            let to = subject::life(&namespace, &workflow, run);
            let whose = (namespace, workflow);
            if last.get(&whose) == Some(&number) {
                let (reply, ticket) = self.inner.mux.ticket();
                let sent = self.inner.client.publish_with_reply(to.clone(), reply, body).await;
                sent.map_err(|_| NatsError::Disconnected { what: to })?;
                asked.push((whose, ticket));
            } else {
                self.publish(&to, body).await?;
            }
        }
        // What the server has to say about nobody comes before the echo that is waited for here, on the same way.
        self.settled().await?;
        let unheard = asked.into_iter().filter_map(|(whose, ticket)| {
            let said = ticket.now_or_never()??;
            (said.status == Some(StatusCode::NO_RESPONDERS)).then_some(whose)
        });
        Ok(unheard.collect())
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
