//! The pools' queues in `SM_TASKS_<pool>`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use stepmill_nats::{Nats, Serving, StreamOptions, TaskDepth, TaskMessage, TaskQueues};
use stepmill_protocol::{CommandId, PoolName, codec};

use super::{error, unreadable};
use crate::port::queue::{Backlog, OutgoingTask, QueueError, Tasks};
use crate::port::store::Published;

/// Messages that a sweep looks at in one go.
const LOOKS_AT_A_TIME: usize = 64;

/// The pools' queues in `SM_TASKS_<pool>`.
pub struct NatsTasks {
    queues: TaskQueues,
    /// Pools whose queue was there when last looked at, with its identity.
    known: Mutex<HashMap<PoolName, Arc<str>>>,
    _joins: Serving,
}

impl NatsTasks {
    /// The queues that this connection reaches; `options` for those that have to be made. Also makes the queue of a pool when a
    /// worker says that it waits for it.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn serve(nats: Nats, options: StreamOptions) -> Result<Self, QueueError> {
        let queues = TaskQueues::new(nats.clone(), options);
        let joins = nats.serve_joins(queues.clone()).await.map_err(error)?;
        Ok(Self { queues, known: Mutex::default(), _joins: joins })
    }

    fn forget(&self, pool: &PoolName) {
        self.known.lock().remove(pool);
    }
}

#[async_trait]
impl Tasks for NatsTasks {
    async fn ensure(&self, pool: &PoolName) -> Result<(), QueueError> {
        if self.known.lock().contains_key(pool) {
            return Ok(());
        }
        self.queues.ensure(pool).await.map_err(error)?;
        if let Some(state) = self.queues.state(pool).await.map_err(error)? {
            self.known.lock().insert(pool.clone(), state.incarnation.into());
        }
        Ok(())
    }

    async fn publish(&self, tasks: Vec<OutgoingTask>) -> Vec<Result<Published, QueueError>> {
        let mut results: Vec<Option<Result<Published, QueueError>>> = Vec::with_capacity(tasks.len());
        let mut sent = Vec::with_capacity(tasks.len());
        let mut messages = Vec::with_capacity(tasks.len());
        for (place, OutgoingTask { task, again, .. }) in tasks.into_iter().enumerate() {
            results.push(None);
            // Taken before publishing: a queue that is made anew meanwhile then looks foreign to the sweep, never the other way round.
            let identity = self.known.lock().get(&task.pool).cloned();
            match (identity, codec::pack(&task).map_err(unreadable)) {
                (None, _) => {
                    let message = format!("the queue of pool `{}` has not been seen yet", task.pool);
                    results[place] = Some(Err(QueueError { message, retryable: true }));
                }
                (_, Err(error)) => results[place] = Some(Err(error)),
                (Some(identity), Ok(bytes)) => {
                    sent.push((place, task.pool.clone(), identity));
                    messages.push(TaskMessage {
                        id: task.id,
                        pool: task.pool,
                        priority: task.priority,
                        kind: task.kind,
                        again,
                        payload: Bytes::from(bytes),
                    });
                }
            }
        }
        for ((place, pool, identity), stored) in sent.into_iter().zip(self.queues.publish(messages).await) {
            results[place] = Some(match stored {
                Ok(stored) => Ok(Published { seq: stored.seq, stream: identity.to_string() }),
                Err(e) => {
                    self.forget(&pool);
                    Err(error(e))
                }
            });
        }
        let unanswered = || QueueError { message: "the broker gave no answer".into(), retryable: true };
        results.into_iter().map(|r| r.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    async fn find(&self, pool: &PoolName, ids: &[CommandId]) -> Result<Vec<Option<Published>>, QueueError> {
        let Some(state) = self.queues.state(pool).await.map_err(error)? else {
            self.forget(pool);
            return Ok(vec![None; ids.len()]);
        };
        let found = self.queues.find(pool, ids).await.map_err(error)?;
        let at = |id: &CommandId| found.get(id).map(|seq| Published { seq: *seq, stream: state.incarnation.clone() });
        Ok(ids.iter().map(at).collect())
    }

    async fn gone(&self, pool: &PoolName, messages: &[Published]) -> Result<Vec<bool>, QueueError> {
        let Some(state) = self.queues.state(pool).await.map_err(error)? else {
            self.forget(pool);
            return Ok(vec![true; messages.len()]);
        };
        let known_as = self.known.lock().get(pool).cloned();
        if known_as.is_some_and(|identity| *identity != *state.incarnation) {
            self.forget(pool);
        }
        let mut gone = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(LOOKS_AT_A_TIME) {
            let looks = chunk.iter().map(|at| async {
                let foreign = at.stream != state.incarnation || at.seq < state.first_seq || at.seq > state.last_seq;
                if foreign {
                    Ok(true)
                } else {
                    self.queues.exists(pool, at.seq).await.map(|exists| !exists).map_err(error)
                }
            });
            for look in futures::future::join_all(looks).await {
                gone.push(look?);
            }
        }
        Ok(gone)
    }

    async fn backlogs(&self) -> Result<BTreeMap<PoolName, Backlog>, QueueError> {
        let pools = self.queues.pools().await.map_err(error)?;
        let asked = pools.into_iter().map(|pool| async move {
            let depth = self.queues.depth(&pool).await.map_err(error)?;
            Ok::<_, QueueError>((pool, depth))
        });
        let mut all = BTreeMap::new();
        for (pool, depth) in futures::future::try_join_all(asked).await? {
            // A queue that went away meanwhile has none.
            let Some(TaskDepth { waiting, oldest, running }) = depth else { continue };
            all.insert(pool, Backlog { waiting, oldest, running });
        }
        Ok(all)
    }

    async fn remove(&self, pool: &PoolName, messages: &[Published]) {
        // In a queue that was made anew, the same number is another task.
        let present = match self.queues.state(pool).await {
            Ok(Some(state)) => state.incarnation,
            Ok(None) | Err(_) => return,
        };
        let all = messages.iter().filter(|at| at.stream == present).map(|at| async {
            if let Err(e) = self.queues.remove(pool, at.seq).await {
                tracing::debug!(%pool, seq = at.seq, error = %e, "a useless task stays in its queue");
            }
        });
        futures::future::join_all(all).await;
    }
}
