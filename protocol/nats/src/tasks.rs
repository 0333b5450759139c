//! The pools' queues as coordinators see them: publishing tasks, and looking whether one is still there.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::json;
use stepmill_protocol::{CommandId, PoolName, Priority, StepKind};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::{MESSAGE_ID_HEADER, Outgoing, Stored};
use crate::stream::{StreamOptions, StreamState};
use crate::subject;

/// Messages that a search takes in one go.
const LOOKED_AT_A_TIME: usize = 500;

/// A task to publish.
#[derive(Clone, Debug)]
pub struct TaskMessage {
    /// The dispatch; also the message id.
    pub id: CommandId,
    /// The pool.
    pub pool: PoolName,
    /// The priority there.
    pub priority: Priority,
    /// The kind of step.
    pub kind: StepKind,
    /// Published again after a takeover or a loss: the worker asks the owner before it runs it.
    pub again: bool,
    /// The task's bytes.
    pub payload: Bytes,
}

/// The pools' queues. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskQueues {
    nats: Nats,
    options: StreamOptions,
}

impl TaskQueues {
    /// The queues that this connection reaches; `options` for those that have to be made.
    #[must_use]
    pub const fn new(nats: Nats, options: StreamOptions) -> Self {
        Self { nats, options }
    }

    pub(crate) const fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Makes sure that a pool has its queue.
    ///
    /// # Errors
    /// [`NatsError::Setting`] when it exists with a wrong setting that cannot be changed.
    pub async fn ensure(&self, pool: &PoolName) -> Result<(), NatsError> {
        self.nats.ensure_pool(pool, &self.options).await
    }

    /// Publishes all tasks, pipelined; the results are in the same order. [`NatsError::NoResponders`] means that the
    /// pool has no queue: call [`TaskQueues::ensure`] and publish again.
    pub async fn publish(&self, tasks: Vec<TaskMessage>) -> Vec<Result<Stored, NatsError>> {
        let outgoing = |t: TaskMessage| Outgoing {
            subject: subject::task(&t.pool, t.priority, &t.kind),
            id: Some(t.id.to_string()),
            again: t.again,
            payload: t.payload,
        };
        self.nats.store_all(tasks.into_iter().map(outgoing).collect()).await
    }

    /// Whether the message with this sequence is still in the pool's queue, waiting or being worked on. The stream's
    /// leader is asked, so a lagging copy cannot say that it is gone.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer. A queue that does not exist holds nothing.
    pub async fn exists(&self, pool: &PoolName, seq: u64) -> Result<bool, NatsError> {
        let verb = format!("STREAM.MSG.GET.{}", subject::tasks_stream(pool));
        match self.nats.js_call(&verb, &json!({"seq": seq})).await {
            Ok(_) => Ok(true),
            Err(NatsError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Where the messages of these dispatches lie in the pool's queue. One that is not in the answer has none there.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer, or the queue does not exist.
    pub async fn find(&self, pool: &PoolName, ids: &[CommandId]) -> Result<HashMap<CommandId, u64>, NatsError> {
        let stream = subject::tasks_stream(pool);
        let wanted: HashMap<String, CommandId> = ids.iter().map(|id| (id.to_string(), *id)).collect();
        let mut found = HashMap::new();
        let mut next = 1_u64;
        while found.len() < wanted.len() {
            let body = json!({"seq": next, "next_by_subj": subject::tasks_all(pool), "batch": LOOKED_AT_A_TIME});
            let messages = self.nats.direct_batch(&stream, &body).await?;
            let seq_before = next;
            for message in &messages {
                let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(ToString::to_string);
                let Some(seq) = header("Nats-Sequence").and_then(|s| s.parse::<u64>().ok()) else { continue };
                next = next.max(seq + 1);
                if let Some(id) = header(MESSAGE_ID_HEADER).and_then(|id| wanted.get(&id).copied()) {
                    found.insert(id, seq);
                }
            }
            if next == seq_before {
                break;
            }
        }
        Ok(found)
    }

    /// Takes a message out of the queue if it is still there.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn remove(&self, pool: &PoolName, seq: u64) -> Result<(), NatsError> {
        let verb = format!("STREAM.MSG.DELETE.{}", subject::tasks_stream(pool));
        match self.nats.js_call(&verb, &json!({"seq": seq, "no_erase": true})).await {
            Ok(_) | Err(NatsError::NotFound { .. } | NatsError::Refused { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Where the pool's queue begins and ends, and which one it is; none where there is none.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn state(&self, pool: &PoolName) -> Result<Option<StreamState>, NatsError> {
        match self.nats.stream_state(&subject::tasks_stream(pool)).await {
            Ok(state) => Ok(Some(state)),
            Err(NatsError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
