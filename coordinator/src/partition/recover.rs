//! Where to begin. Four cases: the cursor stands and the log has what it should have; nothing is stored (a new installation, or the
//! store was emptied): fold again from the log's copies and what follows; the log lost its end or was made anew: begin a new
//! incarnation; one of the last two was begun by an earlier owner and not finished: begin it again.

use stepmill_engine::Run;
use stepmill_protocol::{Event, LogRecord, Timestamp, codec};

use super::OwnerError;
use super::listen::is_mark;
use super::owner::Owner;
use super::poison::{self, Caution, Known};
use super::work::{LISTENING, TURN};
use crate::port::queue::{LogMessage, LogReader, Start};
use crate::port::store::{Commit, Cursor, OutboxEntry, RunIndex, RunWrite, StoredRun};

/// Marks in front of the log's identity in the stored cursor: what an owner was in the middle of.
const REBUILDING: &str = "rebuild!";
const RENEWING: &str = "renew!";

/// Whether a partition is (or is about to be) folded again from the log: what the store does not hold may exist all the same.
pub(crate) fn is_rebuilding(cursor: Option<&Cursor>) -> bool {
    cursor.is_none_or(|c| c.log.is_empty() || c.log.starts_with(REBUILDING))
}

/// What is to be done before the partition is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Go on from the cursor.
    GoOn,
    /// Fold everything again.
    Rebuild,
    /// Go on with the messages later than the cursor's, in a new incarnation.
    Renew,
    /// An earlier owner began that; go on from its cursor and copy the live runs at the end.
    FinishRenewal,
}

impl Owner {
    /// Finds out where to begin, loads what is open, and opens the reader. Nothing is published before the log's end as of now is
    /// folded.
    pub(super) async fn recover(&mut self, known: &mut Known, first: bool) -> Result<Box<dyn LogReader>, OwnerError> {
        let ports = self.shared.ports.clone();
        let identity = ports.log.identity().await?;
        let stored = ports.store.cursor(self.partition).await?;
        let beginning = self.beginning(stored.as_ref(), &identity).await?;
        let start = match beginning {
            Beginning::GoOn => {
                self.cursor = stored.unwrap_or_default();
                start_of(&self.cursor)
            }
            Beginning::FinishRenewal => {
                self.cursor = stored.unwrap_or_default();
                self.snapshot_all = true;
                start_of(&self.cursor)
            }
            Beginning::Rebuild => self.begin_rebuild(&identity).await?,
            Beginning::Renew => self.begin_renewal(stored.unwrap_or_default(), &identity).await?,
        };
        tracing::info!(partition = %self.partition, epoch = self.lease.epoch, cursor = self.cursor.seq, ?beginning, "owner");
        self.caution = if first {
            poison::look_back(ports.store.as_ref(), self.partition, &self.lease, self.cursor.seq, known).await?
        } else {
            Caution::None
        };
        self.load_open().await?;
        self.tell_again().await?;
        let reader = ports.log.read(self.partition, start).await?;
        self.quiet_until = Some(ports.log.tail(self.partition).await?);
        Ok(reader)
    }

    async fn beginning(&self, stored: Option<&Cursor>, identity: &str) -> Result<Beginning, OwnerError> {
        let Some(cursor) = stored else { return Ok(Beginning::Rebuild) };
        if cursor.log.is_empty() || cursor.log.starts_with(REBUILDING) {
            return Ok(Beginning::Rebuild);
        }
        let resumed = cursor.log.strip_prefix(RENEWING);
        if resumed.unwrap_or(&cursor.log) != identity {
            return Ok(Beginning::Renew);
        }
        let go_on = if resumed.is_some() { Beginning::FinishRenewal } else { Beginning::GoOn };
        if cursor.seq == 0 {
            return Ok(go_on);
        }
        let log = &self.shared.ports.log;
        match log.time_at(self.partition, cursor.seq).await? {
            Some(at) if at == cursor.at => Ok(go_on),
            Some(_) => Ok(Beginning::Renew),
            // Gone: too old to be kept, or cut off.
            None => {
                let first = log.first().await?;
                Ok(if first > cursor.seq { go_on } else { Beginning::Renew })
            }
        }
    }

    /// Empties the partition and puts the newest copy of each run there; what a copy holds already is skipped while folding.
    async fn begin_rebuild(&mut self, identity: &str) -> Result<Start, OwnerError> {
        let ports = self.shared.ports.clone();
        self.shared.plans.refill().await?;
        ports.store.clear(self.partition, &self.lease).await?;
        let to = Cursor { log: format!("{REBUILDING}{identity}"), ..Cursor::default() };
        let mut commit = self.start(Cursor::default(), to.clone());
        for copy in ports.log.snapshots(self.partition).await? {
            let Some((write, run, as_of)) = read_copy(copy) else { continue };
            self.skip.insert(write.run, as_of);
            commit.timers_put.extend(run.open_timers().into_iter().map(|(timer, due)| (write.run, timer, due)));
            commit.timers_put.extend(run.pending_yield().map(|_| (write.run, TURN, Timestamp(0))));
            commit.timers_put.extend(run.listens_since().map(|since| (write.run, LISTENING, since)));
            commit.outbox_put.extend(run.open_dispatches().into_iter().map(|(id, pool, priority)| OutboxEntry {
                id,
                pool,
                priority,
                published: None,
            }));
            commit.runs.push(write);
        }
        ports.store.commit(commit).await?;
        self.cursor = to;
        Ok(Start::After(0))
    }

    /// Raises the incarnation. Messages later than the one at the cursor are new; no position is compared with one of before.
    async fn begin_renewal(&mut self, before: Cursor, identity: &str) -> Result<Start, OwnerError> {
        tracing::warn!(
            partition = %self.partition,
            cursor = before.seq,
            "the log does not hold what was folded from it: it lost its end or was made anew. Beginning a new incarnation from the stored runs"
        );
        let log = self.shared.ports.log.clone();
        let tail = log.tail(self.partition).await?;
        // Where nothing is later than what was folded, the log's present end is the new place; else 0 and the time say where.
        let (seq, at) = match log.time_at(self.partition, tail).await? {
            Some(at) if tail > 0 && at <= before.at => (tail, at),
            Some(_) | None => (0, before.at),
        };
        let to = Cursor { incarnation: before.incarnation + 1, seq, at, log: format!("{RENEWING}{identity}") };
        self.shared.ports.store.commit(self.start(before, to.clone())).await?;
        self.cursor = to;
        self.snapshot_all = true;
        Ok(start_of(&self.cursor))
    }

    /// A commit that moves the cursor only.
    pub(super) fn start(&self, from: Cursor, to: Cursor) -> Commit {
        Commit {
            partition: self.partition,
            lease: self.lease.clone(),
            from,
            to,
            runs: Vec::new(),
            outbox_put: Vec::new(),
            outbox_drop: Vec::new(),
            timers_put: Vec::new(),
            timers_drop: Vec::new(),
            told_put: None,
            told_drop: Vec::new(),
        }
    }

    /// Loads what the store says is still to be done.
    async fn load_open(&mut self) -> Result<(), OwnerError> {
        let store = self.shared.ports.store.clone();
        let now = Self::instant();
        for entry in store.outbox(self.partition).await? {
            self.outbox.open_published(entry, now);
        }
        let (mut waiting, mut listening) = (Vec::new(), Vec::new());
        for (run, timer, due) in store.timers(self.partition).await? {
            if is_mark(run) {
                self.listens.restore_mark(timer, due);
            } else if timer == LISTENING {
                listening.push(run);
            } else if timer == TURN {
                waiting.push(run);
            } else {
                self.timers.arm((run, timer), due);
            }
        }
        self.learn_listeners(&listening).await?;
        self.load(waiting.iter().copied()).await?;
        for id in waiting {
            if let Some(number) = self.cache.get(&id).and_then(|c| c.run.as_ref()).and_then(|r| r.pending_yield()) {
                self.turns.insert(id, number);
            }
        }
        Ok(())
    }

    /// Looks for the messages of dispatches that an earlier owner may have published without noting where: while one of them is worked
    /// on, a second message would let another worker begin the same step.
    async fn find_published(&mut self) -> Result<(), OwnerError> {
        let now = Self::instant();
        for (pool, ids) in self.outbox.doubtful() {
            let tasks = &self.shared.ports.tasks;
            for (id, at) in ids.iter().zip(tasks.find(&pool, &ids).await?) {
                if let Some(at) = at {
                    self.outbox.found(id, at, now);
                }
            }
        }
        Ok(())
    }

    /// Everything that the log held at the beginning is folded: finish what was begun, and speak again.
    pub(super) async fn end_of_quiet(&mut self) -> Result<(), OwnerError> {
        self.skip.clear();
        self.find_published().await?;
        if self.snapshot_all {
            self.copy_all_runs().await?;
            self.snapshot_all = false;
        }
        let identity = self.cursor.log.trim_start_matches(REBUILDING).trim_start_matches(RENEWING).to_owned();
        if identity != self.cursor.log {
            let to = Cursor { log: identity, ..self.cursor.clone() };
            self.shared.ports.store.commit(self.start(self.cursor.clone(), to.clone())).await?;
            self.cursor = to;
        }
        self.quiet_until = None;
        Ok(())
    }
}

/// Where to read on from a stored cursor.
fn start_of(cursor: &Cursor) -> Start {
    if cursor.seq == 0 && cursor.at > Timestamp(0) { Start::LaterThan(cursor.at) } else { Start::After(cursor.seq) }
}

/// A copy of a run as a write to the store, with the position up to which it holds everything.
fn read_copy(message: LogMessage) -> Option<(RunWrite, Run, u64)> {
    let Ok(LogRecord { run, event: Event::Snapshot { state, values, as_of }, .. }) = message.record else {
        tracing::error!(run = %message.run, seq = message.seq, "a copy of a run cannot be read; folding it from its events");
        return None;
    };
    let packed: Result<Vec<_>, _> = values.iter().map(|(id, v)| codec::pack(v).map(|b| (*id, b))).collect();
    let stored = StoredRun { control: state, values: packed.ok()? };
    let decoded = super::fold::decode(&stored)
        .inspect_err(|error| tracing::error!(%run, error, "a copy of a run cannot be read; folding it from its events"))
        .ok()?;
    let index = RunIndex {
        namespace: decoded.namespace().clone(),
        workflow: decoded.workflow().clone(),
        state: decoded.state(),
        submitted_at: decoded.submitted_at(),
    };
    let write = RunWrite {
        run,
        control: stored.control,
        values_put: stored.values,
        values_drop: Vec::new(),
        values_clear: true,
        index,
        state_before: None,
        expire_ms: None,
    };
    Some((write, decoded, as_of))
}
