//! One batch: load what is not in memory, advance each run event by event, commit everything at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_definition::plan::Plan;
use stepmill_engine::{Run, advance, advance_telling};
use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{DeadLetter, Digest, Event, LogRecord, Problem, RunId, Timestamp, codec};

use super::OwnerError;
use super::owner::Owner;
use super::poison::Known;
use super::work::Work;
use crate::measures;
use crate::plans::PlanError;
use crate::port::queue::{LogMessage, Source};
use crate::port::store::{Commit, Cursor, OutboxEntry, RunIndex, RunWrite};

/// How long events are folded before what there is is committed and told. It decides only how much is committed at a time; what an
/// event does to its run is never a matter of time.
const FOLD_PORTION: Duration = Duration::from_millis(50);

impl Owner {
    /// Folds and commits a batch, then lets the world know; a batch that takes long in portions, so that those whose events have been
    /// folded do not wait for the others'.
    pub(super) async fn fold(&mut self, batch: Vec<LogMessage>, poison: &mut Known) -> Result<(), OwnerError> {
        let mut batch = VecDeque::from(batch);
        while !batch.is_empty() {
            self.fold_portion(&mut batch, poison).await?;
        }
        Ok(())
    }

    async fn fold_portion(&mut self, batch: &mut VecDeque<LogMessage>, poison: &mut Known) -> Result<(), OwnerError> {
        let touched: BTreeSet<RunId> = batch.iter().filter(|m| m.source != Source::Snapshot).map(|m| m.run).collect();
        self.load(touched.iter().copied()).await?;
        let mut work = Work { plans: self.new_plans(batch).await?, ..Work::default() };
        let (begin, events) = (Instant::now(), batch.len());
        while let Some(message) = batch.pop_front() {
            work.last = Some((message.seq, message.at));
            self.fold_one(message, poison, &mut work)?;
            if begin.elapsed() >= FOLD_PORTION {
                break;
            }
        }
        let letters = std::mem::take(&mut work.letters);
        futures::future::try_join_all(letters.iter().map(|letter| self.shared.ports.archive.bury(letter))).await?;
        self.note_listeners(&mut work);
        self.commit(&mut work).await?;
        self.shared.measures.folded(events - batch.len());
        // While everything is folded again the same places come by once more after a restart.
        if self.quiet_until.is_none() {
            poison.forget_up_to(self.cursor.seq);
        }
        self.settle(work);
        for id in &touched {
            self.cache.remove_if_done(id);
        }
        self.cache.trim();
        Ok(())
    }

    fn fold_one(&mut self, message: LogMessage, poison: &Known, work: &mut Work) -> Result<(), OwnerError> {
        let LogMessage { seq, at, source, run, record, .. } = message;
        if source == Source::Snapshot || self.skip.get(&run).is_some_and(|as_of| seq <= *as_of) {
            return Ok(());
        }
        let record = match record {
            Ok(record) => record,
            Err(reason) => {
                work.letters.push(unreadable(run, &format!("the record at {seq} cannot be read: {reason}")));
                return Ok(());
            }
        };
        if let Err(reason) = admissible(&source, run, &record) {
            tracing::warn!(%run, seq, reason, "refused a record of the log");
            return Ok(());
        }
        let LogRecord { event, reply, .. } = record;
        let event = match poison.reason(seq) {
            None => event,
            Some(reason) => {
                let problem = Problem::standard(Standard::Runtime, reason);
                let record = LogRecord { run, event, reply: None };
                work.letters.push(DeadLetter { record: Some(Box::new(record)), ..letter(run, problem) });
                Event::Park { reason: format!("the event at {seq} could not be folded: {reason}") }
            }
        };
        if let Event::TimerDue { timer } = &event {
            work.timers.insert((run, *timer), None);
        }
        let answer = if let Event::Operated(operation) = &event
            && operation.act.scope().is_some()
        {
            self.fold_hold(run, at, operation, work)
        } else {
            self.apply(run, at, seq, &event, work)?
        };
        // Only coordinators may say where an answer goes.
        if let Some(reply) = reply.filter(|_| source == Source::Coordinator) {
            work.answers.push((reply, answer));
        }
        Ok(())
    }

    /// Advances one run. A panic of the engine leaves everything uncommitted and names the event.
    fn apply(
        &mut self,
        id: RunId,
        at: Timestamp,
        seq: u64,
        event: &Event,
        work: &mut Work,
    ) -> Result<Folded, OwnerError> {
        let plan = match event {
            Event::Submitted(s) => work.plans.get(&s.digest).cloned(),
            Event::Report(_)
            | Event::Signal { .. }
            | Event::TimerDue { .. }
            | Event::Cancel { .. }
            | Event::Resume { .. }
            | Event::TaskLost { .. }
            | Event::Acted { .. }
            | Event::ChildEnded { .. }
            | Event::Park { .. }
            | Event::Snapshot { .. }
            | Event::Occurred(_)
            | Event::Operated(_) => None,
        };
        let tells = self.cache.get(&id).and_then(|cached| cached.plan.as_deref()).or(plan.as_deref());
        let tells = tells.is_some_and(|plan| self.tells(plan, at));
        let Some(cached) = self.cache.get_mut(&id) else {
            return Ok(Folded::Refused(Problem::standard(Standard::Runtime, "the run was not loaded")));
        };
        let Some(plan) = cached.plan.clone().or(plan) else {
            let exists = cached.run.is_some() || cached.broken.is_some();
            return Ok(Folded::Refused(no_plan(id, exists)));
        };
        let run = cached.run.take();
        let rev = run.as_ref().map(Run::rev);
        let advance = || match tells {
            true => advance_telling(&plan, id, run, at, event),
            false => (advance(&plan, id, run, at, event), None),
        };
        let (outcome, told) = catch_unwind(AssertUnwindSafe(advance))
            .map_err(|panic| OwnerError::Poison { seq, reason: panic_text(panic.as_ref()) })?;
        if outcome.run.as_ref().map(Run::rev) != rev {
            work.dirty.insert(id);
        }
        if outcome.run.is_some() {
            cached.plan = Some(plan);
        }
        cached.run = outcome.run;
        work.told.extend(told);
        work.take(id, at, event, outcome.commands);
        Ok(outcome.answer)
    }

    /// Brings runs into memory, with their plans.
    pub(super) async fn load(&mut self, ids: impl Iterator<Item = RunId>) -> Result<(), OwnerError> {
        let missing: BTreeSet<RunId> = ids.filter(|id| !self.cache.is_usable(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<RunId> = missing.into_iter().collect();
        let stored = self.shared.ports.store.load(self.partition, &missing).await?;
        for (id, stored) in missing.into_iter().zip(stored) {
            let Some(stored) = stored else {
                self.cache.insert(id, None, None, None);
                continue;
            };
            let run = match decode(&stored) {
                Ok(run) => run,
                Err(reason) => {
                    tracing::error!(run = %id, reason, "the stored state of a run cannot be read; it is left alone");
                    self.cache.insert_broken(id, reason);
                    continue;
                }
            };
            let plan = self.plan(run.digest()).await?;
            let state = run.state();
            self.cache.insert(id, Some(run), plan, Some(state));
        }
        Ok(())
    }

    /// The plans that new runs of this batch ask for.
    async fn new_plans(&self, batch: &VecDeque<LogMessage>) -> Result<BTreeMap<Digest, Arc<Plan>>, OwnerError> {
        let mut plans = BTreeMap::new();
        for message in batch {
            if let Ok(LogRecord { event: Event::Submitted(s), .. }) = &message.record
                && !plans.contains_key(&s.digest)
                && let Some(plan) = self.plan(&s.digest).await?
            {
                plans.insert(s.digest.clone(), plan);
            }
        }
        Ok(plans)
    }

    /// A plan; none where the definition is not registered or does not compile any more.
    async fn plan(&self, digest: &Digest) -> Result<Option<Arc<Plan>>, OwnerError> {
        match self.shared.plans.get(digest).await {
            Ok(plan) => Ok(Some(plan)),
            Err(error @ (PlanError::Unknown(_) | PlanError::Broken(..))) => {
                tracing::error!(%digest, %error, "runs of this definition cannot go on");
                Ok(None)
            }
            Err(error @ (PlanError::Store(_) | PlanError::Queue(_))) => Err(error.into()),
        }
    }

    /// Writes everything that the batch changed, and the new cursor.
    async fn commit(&mut self, work: &mut Work) -> Result<(), OwnerError> {
        let Some((seq, at)) = work.last else { return Ok(()) };
        let to = Cursor { seq, at, ..self.cursor.clone() };
        let mut runs = Vec::with_capacity(work.dirty.len());
        for id in &work.dirty {
            runs.extend(self.write(*id)?);
        }
        let mut commit = Commit {
            partition: self.partition,
            lease: self.lease.clone(),
            from: self.cursor.clone(),
            to: to.clone(),
            runs,
            outbox_put: Vec::new(),
            outbox_drop: Vec::new(),
            timers_put: Vec::new(),
            timers_drop: Vec::new(),
            holds: Vec::new(),
            told_put: None,
            told_drop: Vec::new(),
        };
        self.tales_of(&mut commit, &work.told)?;
        for (id, open) in &work.outbox {
            match open {
                Some((pool, priority)) => commit.outbox_put.push(OutboxEntry {
                    id: *id,
                    pool: pool.clone(),
                    priority: *priority,
                    published: None,
                }),
                None => commit.outbox_drop.push(*id),
            }
        }
        for ((run, timer), due) in &work.timers {
            match due {
                Some(due) => commit.timers_put.push((*run, *timer, *due)),
                None => commit.timers_drop.push((*run, *timer)),
            }
        }
        commit.holds.extend(work.holds.iter().map(|(scope, hold)| (scope.clone(), hold.clone())));
        let ends = measures::ends_in(&commit.runs);
        self.shared.ports.store.commit(commit).await?;
        self.shared.measures.ended(&ends);
        self.cursor = to;
        Ok(())
    }

    /// What the store is to hold of one run.
    pub(super) fn write(&mut self, id: RunId) -> Result<Option<RunWrite>, OwnerError> {
        let retention = u64::try_from(self.shared.config.retention.as_millis()).unwrap_or(u64::MAX);
        let Some(cached) = self.cache.get_mut(&id) else { return Ok(None) };
        let Some(run) = cached.run.as_mut() else { return Ok(None) };
        let changes = run.take_value_changes();
        let mut values_put = Vec::with_capacity(changes.put.len());
        for (value_id, value) in changes.put {
            values_put.push((value_id, codec::pack(value.as_ref())?));
        }
        let state_before = cached.stored.replace(run.state());
        Ok(Some(RunWrite {
            run: id,
            control: run.encode()?,
            values_put,
            values_drop: changes.drop,
            values_clear: false,
            index: RunIndex {
                namespace: run.namespace().clone(),
                workflow: run.workflow().clone(),
                state: run.state(),
                submitted_at: run.submitted_at(),
            },
            state_before,
            expire_ms: run.is_done().then_some(retention),
        }))
    }
}

/// A stored run's state and values, read.
pub(crate) fn decode(stored: &crate::port::store::StoredRun) -> Result<Run, String> {
    let mut values = std::collections::BTreeMap::new();
    for (id, bytes) in &stored.values {
        values.insert(*id, codec::unpack(bytes).map_err(|e| e.to_string())?);
    }
    Run::decode(&stored.control, values).map_err(|e| e.to_string())
}

/// Whether this source may say this. Workers report, and only on the run that they write to.
pub(crate) fn admissible(source: &Source, run: RunId, record: &LogRecord) -> Result<(), &'static str> {
    if record.run != run {
        return Err("its address names another run");
    }
    match (&record.event, source) {
        (Event::Report(report), Source::Worker(_)) if report.id.run != run => Err("the report is on another run"),
        (Event::Report(_), _) | (_, Source::Coordinator) => Ok(()),
        (_, Source::Worker(_) | Source::Snapshot) => Err("workers only report"),
    }
}

fn no_plan(id: RunId, exists: bool) -> Problem {
    if exists {
        let detail = format!(
            "run {id} cannot be read, or its definition is not registered or does not compile; look at the coordinator's log, or define it again"
        );
        Problem::standard(Standard::Configuration, detail)
    } else {
        Problem::own("not-found", 404, "Not found", format!("there is no run {id}"))
    }
}

fn letter(run: RunId, problem: Problem) -> DeadLetter {
    DeadLetter { pool: None, run, problem, task: None, record: None, deliveries: 1 }
}

fn unreadable(run: RunId, reason: &str) -> DeadLetter {
    tracing::error!(%run, reason, "a record goes to the dead letters");
    letter(run, Problem::standard(Standard::Runtime, reason))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the engine panicked".to_owned())
}
