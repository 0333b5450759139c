//! Publishing, after the commit only. The bodies of tasks are computed from run and plan by the engine's one function.

use std::collections::BTreeMap;

use stepmill_protocol::{CommandId, PoolName};

use super::OwnerError;
use super::outbox::Ready;
use super::owner::{Inner, Owner};
use crate::port::queue::{OutgoingTask, QueueError, Tasks};
use crate::port::store::{Commit, Published};

/// How long tasks that were not published wait before they are tried again.
const AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(200);

/// How long a dispatch waits whose run or plan cannot be read.
const AFTER_NO_PLAN: std::time::Duration = std::time::Duration::from_secs(5);

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
        self.tend_events();
        self.publish().await
    }

    /// Publishes what there is room for.
    pub(super) async fn publish(&mut self) -> Result<(), OwnerError> {
        let ready = self.outbox.ready();
        if ready.is_empty() {
            return Ok(());
        }
        self.load(ready.iter().map(|r| r.id.run)).await?;
        let mut pools = BTreeMap::<PoolName, Vec<OutgoingTask>>::new();
        let mut crowded = Vec::new();
        for Ready { id, again, system } in ready {
            if system {
                let Some(action) = self.action(&id) else {
                    self.pass_over(&id);
                    continue;
                };
                if !self.act(id, action) {
                    crowded.push(id);
                }
                continue;
            }
            let Some(task) = self.body(&id) else {
                self.pass_over(&id);
                continue;
            };
            let message_id = id.to_string();
            pools.entry(task.pool.clone()).or_default().push(OutgoingTask { task, message_id, again });
        }
        // They are tried again when one of those under way is settled.
        crowded.iter().rev().for_each(|id| self.outbox.put_back(id));
        for (pool, tasks) in pools {
            let (queue, inner) = (self.shared.ports.tasks.clone(), self.inner.clone());
            tokio::spawn(async move {
                let results = publish_to(queue.as_ref(), &pool, tasks).await;
                // A failed one waits a moment, so that a queue that is full or away is not hammered.
                if results.iter().any(|(_, r)| r.is_err()) {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                // The owner may be gone by now; the next one publishes what is open.
                inner.send(Inner::Relayed(pool, results)).ok();
            });
        }
        Ok(())
    }

    fn body(&self, id: &CommandId) -> Option<stepmill_protocol::Task> {
        let cached = self.cache.get(&id.run)?;
        cached.run.as_ref()?.task(cached.plan.as_deref()?, *id, self.partition)
    }

    fn action(&self, id: &CommandId) -> Option<stepmill_protocol::SystemAction> {
        let cached = self.cache.get(&id.run)?;
        cached.run.as_ref()?.action(cached.plan.as_deref()?, *id)
    }

    /// The store says open, the run does not say that it waits. Only a bug leads here, or a run or a plan that cannot be read; those may be
    /// repaired.
    fn pass_over(&mut self, id: &CommandId) {
        let cached = self.cache.get(&id.run);
        if cached.is_some_and(|c| c.broken.is_some() || (c.run.is_some() && c.plan.is_none())) {
            self.rest(*id, AFTER_NO_PLAN);
            return;
        }
        tracing::error!(%id, "a dispatch in the outbox is not open in its run; passed over");
        self.outbox.settle(id);
    }

    /// Saves where published tasks lie that have not been worked off within a sweep's time. Should an owner die before, the
    /// next one looks for them in their queues.
    pub(super) async fn save_positions(&mut self) -> Result<(), OwnerError> {
        let outbox_put = self.outbox.take_unsaved();
        if outbox_put.is_empty() {
            return Ok(());
        }
        let commit = Commit { outbox_put, ..self.start(self.cursor.clone(), self.cursor.clone()) };
        self.shared.ports.store.commit(commit).await?;
        Ok(())
    }

    /// The broker's answers. A task that was revoked while it was on its way is taken out again.
    pub(super) async fn relayed(
        &mut self,
        pool: PoolName,
        results: Vec<(CommandId, Result<Published, QueueError>)>,
    ) -> Result<(), OwnerError> {
        let now = Self::instant();
        let mut useless = Vec::new();
        for (id, result) in results {
            let revoked = self.outbox.is_revoked(&id);
            match result {
                Ok(at) if revoked => useless.push(at),
                // Most have been worked off by now; that changes nothing then.
                Ok(at) => self.outbox.published(&id, at, now),
                Err(_) if revoked => {}
                Err(error) => {
                    tracing::warn!(%id, %error, "a task was not published; trying again");
                    self.outbox.unpublished(&id);
                }
            }
        }
        if !useless.is_empty() {
            self.remove_later(BTreeMap::from([(pool, useless)]));
        }
        self.publish().await
    }
}

/// Publishes to one pool, so that a pool whose queue is broken or full delays no other.
async fn publish_to(
    queue: &dyn Tasks,
    pool: &PoolName,
    tasks: Vec<OutgoingTask>,
) -> Vec<(CommandId, Result<Published, QueueError>)> {
    let ids: Vec<CommandId> = tasks.iter().map(|t| t.task.id).collect();
    if let Err(error) = queue.ensure(pool).await {
        return ids.into_iter().map(|id| (id, Err(error.clone()))).collect();
    }
    ids.into_iter().zip(queue.publish(tasks).await).collect()
}
