//! Life-cycle events inside one process: a channel that all who want them share.

use async_trait::async_trait;
use stepmill_protocol::{Namespace, WorkflowName};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::port::life::{Life, LifeHearer, LifeMessage, LifeWanted};
use crate::port::queue::QueueError;

/// Events that a slow hearer may be behind before it misses some.
const BEHIND_MAX: usize = 16 * 1024;

/// The events of this process.
pub(crate) struct EmbeddedLife {
    sender: broadcast::Sender<LifeMessage>,
}

impl Default for EmbeddedLife {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND_MAX) }
    }
}

#[async_trait]
impl Life for EmbeddedLife {
    fn is_wanted(&self, _: &Namespace, _: &WorkflowName) -> bool {
        self.sender.receiver_count() > 0
    }

    async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), QueueError> {
        for event in events {
            // Nobody hears it: then it is told to nobody.
            self.sender.send(event).ok();
        }
        Ok(())
    }

    async fn hear(&self, wanted: LifeWanted) -> Result<Box<dyn LifeHearer>, QueueError> {
        Ok(Box::new(Hearer { receiver: self.sender.subscribe(), wanted }))
    }
}

struct Hearer {
    receiver: broadcast::Receiver<LifeMessage>,
    wanted: LifeWanted,
}

#[async_trait]
impl LifeHearer for Hearer {
    async fn next(&mut self) -> Option<Result<LifeMessage, QueueError>> {
        loop {
            match self.receiver.recv().await {
                Ok(event) if self.wanted.takes(&event) => return Some(Ok(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    let message = format!("{missed} events were missed; ask for those of each run that matters");
                    return Some(Err(QueueError { message, retryable: true }));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
