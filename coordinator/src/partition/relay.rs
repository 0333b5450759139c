//! Publishing, after the commit only. The bodies of tasks are computed from run and plan by the engine's one function.

use std::collections::BTreeMap;

use stepmill_protocol::CommandId;

use super::OwnerError;
use super::outbox::Ready;
use super::owner::{Inner, Owner};
use crate::port::queue::{OutgoingTask, QueueError};
use crate::port::store::Published;

impl Owner {
    /// What may be done now that the cursor has moved: end the quiet time, answer questions, publish, give turns.
    pub(super) async fn catch_up(&mut self) -> Result<(), OwnerError> {
        if let Some(until) = self.quiet_until {
            if self.cursor.seq < until {
                return Ok(());
            }
            self.end_of_quiet().await?;
        }
        self.answer_asks().await?;
        self.report_gone();
        self.give_turns();
        self.copy_long_runs()?;
        self.publish().await
    }

    /// Publishes what there is room for.
    pub(super) async fn publish(&mut self) -> Result<(), OwnerError> {
        let ready = self.outbox.ready();
        if ready.is_empty() {
            return Ok(());
        }
        self.load(ready.iter().map(|r| r.id.run)).await?;
        let mut tasks = Vec::with_capacity(ready.len());
        let mut ids = Vec::with_capacity(ready.len());
        for Ready { id, again } in ready {
            let Some(task) = self.body(&id) else {
                // Only a bug leads here: the store says open, the run says it does not wait.
                tracing::error!(%id, "a dispatch in the outbox is not open in its run; passed over");
                self.outbox.settle(&id);
                continue;
            };
            ids.push(id);
            tasks.push(OutgoingTask { task, message_id: id.to_string(), again });
        }
        let (queue, inner) = (self.shared.ports.tasks.clone(), self.inner.clone());
        tokio::spawn(async move {
            let results = publish_all(queue.as_ref(), ids, tasks).await;
            // A failed one waits a moment, so that a queue that is full or away is not hammered.
            if results.iter().any(|(_, r)| r.is_err()) {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            // The owner may be gone by now; the next one publishes what is open.
            inner.send(Inner::Relayed(results)).ok();
        });
        Ok(())
    }

    fn body(&self, id: &CommandId) -> Option<stepmill_protocol::Task> {
        let cached = self.cache.get(&id.run)?;
        cached.run.as_ref()?.task(cached.plan.as_deref()?, *id, self.partition)
    }

    /// The broker's answers.
    pub(super) async fn relayed(
        &mut self,
        results: Vec<(CommandId, Result<Published, QueueError>)>,
    ) -> Result<(), OwnerError> {
        let now = Self::instant();
        for (id, result) in results {
            match result {
                Ok(at) => self.outbox.published(&id, at, now),
                Err(error) => {
                    tracing::warn!(%id, %error, "a task was not published; trying again");
                    self.outbox.unpublished(&id);
                }
            }
        }
        self.publish().await
    }
}

/// Publishes, making sure of the pools' queues first where they may be missing.
async fn publish_all(
    queue: &dyn crate::port::queue::Tasks,
    ids: Vec<CommandId>,
    tasks: Vec<OutgoingTask>,
) -> Vec<(CommandId, Result<Published, QueueError>)> {
    let mut pools: BTreeMap<_, ()> = BTreeMap::new();
    for task in &tasks {
        pools.insert(task.task.pool.clone(), ());
    }
    for pool in pools.keys() {
        if let Err(error) = queue.ensure(pool).await {
            tracing::warn!(%pool, %error, "the pool's queue cannot be made");
        }
    }
    ids.into_iter().zip(queue.publish(tasks).await).collect()
}
