//! Port: life-cycle events on their way to whoever wants them. Nothing here is stored; who comes later asks the API for a run's.

use async_trait::async_trait;
use stepmill_protocol::{Namespace, RunId, WorkflowName};

use super::queue::QueueError;

/// One event on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeMessage {
    /// Whose it is.
    pub namespace: Namespace,
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Of which run.
    pub run: RunId,
    /// A CloudEvent in the structured form, JSON.
    pub body: bytes::Bytes,
}

/// Which events somebody wants. What is none is all.
#[derive(Clone, Debug)]
pub struct LifeWanted {
    /// Of this tenant.
    pub namespace: Namespace,
    /// Only of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only of this run.
    pub run: Option<RunId>,
}

/// Life-cycle events.
#[async_trait]
pub trait Life: Send + Sync + 'static {
    /// Whether somebody may want those of a workflow. Where that is known not to be so, nothing is made, stored or sent.
    fn is_wanted(&self, namespace: &Namespace, workflow: &WorkflowName) -> bool;

    /// Sends events, in order; resolves when the broker has them all. May be called again with the same ones.
    async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), QueueError>;

    /// Hears what is told from now on.
    async fn hear(&self, wanted: LifeWanted) -> Result<Box<dyn LifeHearer>, QueueError>;
}

/// Hears events in the order in which they were told.
#[async_trait]
pub trait LifeHearer: Send {
    /// The next event. An error when some were missed because this hearer was too slow; the next call goes on behind them. None when
    /// there will be no more.
    async fn next(&mut self) -> Option<Result<LifeMessage, QueueError>>;
}

impl LifeWanted {
    /// Whether an event is among them.
    #[must_use]
    pub fn takes(&self, event: &LifeMessage) -> bool {
        self.namespace == event.namespace
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == event.workflow)
            && self.run.is_none_or(|run| run == event.run)
    }
}
