//! Tasks that are held back: of a run that is paused, or of a workflow, a namespace or a pool of which somebody said so. They stay open
//! and are not published; one that comes back from its queue is taken back.
//!
//! What is held back is said in the log, under an id of the scope's own, so that one partition orders what is said of it. That
//! partition's owner commits it; all owners look for it when they are asked to, before they begin, and every now and then.

use std::collections::BTreeMap;

use stepmill_engine::Run;
use stepmill_protocol::api::Folded;
use stepmill_protocol::{
    Act, AskAnswer, CommandId, Event, Hold, LogRecord, MayRun, Operation, PartitionNo, PoolName, Problem, RunId, Scope,
    Timestamp,
};
use tokio::sync::oneshot;

use super::OwnerError;
use super::owner::Owner;
use super::settle::append_all;
use super::work::Work;

/// What is held back in the whole installation.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Holds(BTreeMap<Scope, Hold>);

impl Holds {
    /// Whether a run's tasks for a pool are held back.
    fn concern(&self, run: &Run, pool: &PoolName) -> bool {
        let namespace = run.namespace();
        self.0.keys().any(|scope| match scope {
            Scope::Namespace { namespace: held } => held == namespace,
            Scope::Workflow { namespace: of, workflow } => of == namespace && workflow == run.workflow(),
            Scope::Pool { pool: held } => held == pool,
        })
    }

    /// Takes over what a batch has changed; true when something was let go.
    pub(super) fn take(&mut self, changes: BTreeMap<Scope, Option<Hold>>) -> bool {
        let mut released = false;
        for (scope, hold) in changes {
            match hold {
                Some(hold) => drop(self.0.insert(scope, hold)),
                None => released |= self.0.remove(&scope).is_some(),
            }
        }
        released
    }
}

impl Owner {
    /// Looks what is held back, in the whole installation.
    pub(super) async fn look_for_holds(&mut self) -> Result<(), OwnerError> {
        let mut all = BTreeMap::new();
        for partition in (0..self.shared.partitions).map(PartitionNo) {
            let holds = self.shared.ports.store.holds(partition).await?;
            all.extend(holds.into_iter().map(|hold| (hold.scope.clone(), hold)));
        }
        let all = Holds(all);
        if all == self.holds {
            return Ok(());
        }
        self.holds = all;
        self.outbox.release_held();
        if self.quiet_until.is_none() { self.publish().await } else { Ok(()) }
    }

    /// Folds what is said of a scope.
    pub(super) fn fold_hold(&mut self, id: RunId, at: Timestamp, operation: &Operation, work: &mut Work) -> Folded {
        let Some(scope) = operation.act.scope().filter(|scope| scope.id() == id) else {
            let detail = "the record does not stand under the id of its scope";
            return Folded::Refused(Problem::own("invalid-act", 400, "Invalid act", detail));
        };
        let known = match work.holds.get(scope) {
            Some(changed) => changed.as_ref(),
            None => self.holds.0.get(scope),
        };
        let text = scope.text();
        let hold = match (&operation.act, known) {
            (Act::Hold { .. }, Some(hold)) => {
                let by = if hold.by.is_empty() { String::new() } else { format!(" by {}", hold.by) };
                return Folded::Ignored { note: format!("{text} is paused already{by}") };
            }
            (Act::Hold { .. }, None) => {
                let (by, reason) = (operation.by.clone(), operation.reason.clone());
                Some(Hold { scope: scope.clone(), at, by, reason })
            }
            (_, Some(_)) => None,
            (_, None) => return Folded::Ignored { note: format!("{text} is not paused") },
        };
        work.holds.insert(scope.clone(), hold);
        Folded::Applied
    }

    /// Whether an open dispatch is held back. What a run tells others is not.
    pub(super) fn is_held(&self, id: &CommandId) -> bool {
        let Some((run, plan)) = self.cache.get(&id.run).and_then(|c| Some((c.run.as_ref()?, c.plan.as_deref()?)))
        else {
            return false;
        };
        let Some(pool) = self.outbox.pool(id) else { return false };
        if pool.is_system() && !run.begins_something(plan, *id) {
            return false;
        }
        run.is_paused() || self.holds.concern(run, pool)
    }

    /// A task came again and may be run. Where it is held back, it is taken out of its queue: it is dispatched anew, and that waits.
    pub(super) fn let_run(&self, id: CommandId, run_it: AskAnswer, answer: oneshot::Sender<AskAnswer>) {
        if !self.is_held(&id) {
            answer.send(run_it).ok();
            return;
        }
        let record = LogRecord { run: id.run, event: Event::TaskLost { id }, reply: None };
        let (log, partition, alive) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            append_all(log.as_ref(), partition, &[record], || !alive.is_closed()).await;
            answer.send(AskAnswer::MayRun(MayRun::Stale)).ok();
        });
    }
}
