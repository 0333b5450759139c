//! Events for the listening runs of a partition. The owner reads the stream of events from a mark of its own on, as long as one of its
//! runs listens, holds each event against those, and appends one record for each run that takes it; the engine does the rest.
//!
//! The mark is a time: events that were stored before it have been held against every run that listens, and what came of it is in the log.
//! It is stored with the partition's commits, and set back in the very commit that makes a run listen, to the moment from which that run
//! takes events. After a takeover the events from the mark on are read again; what was appended before is a duplicate to the engine.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_engine::Listeners;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{DeadLetter, Event, LogRecord, Occurrence, PartitionNo, Problem, RunId, Timestamp, limit};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::OwnerError;
use super::owner::{Inner, Owner};
use super::settle::append_all;
use super::work::{LISTENING, Work};
use crate::port::event::{EventMessage, Events};

/// Runs looked at at a time after a takeover.
const PAGE: usize = 500;
/// Events of the last moments, for a run that began to listen before they came but was not known to.
const RECENT_MAX: usize = 1_024;
const RECENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Sweeps without a listening run after which the stream is not read any more.
const IDLE_SWEEPS: u32 = 10;
/// How long to wait before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// The partition whose owner puts aside what is no event.
const GATE: PartitionNo = PartitionNo(0);
/// How long events are held against runs before the owner looks at what else there is.
const EVENT_PORTION: Duration = Duration::from_millis(50);

/// What an owner knows of events.
#[derive(Default)]
pub(super) struct Listens {
    index: Listeners,
    /// Runs that listen as the store says, to be looked at before any event is.
    unknown: VecDeque<RunId>,
    /// Events stored before are done with; see above. None: nobody listens.
    mark: Option<Timestamp>,
    /// What the store has of that.
    stored: Option<Timestamp>,
    /// When the last event was stored that was held against the runs that were known to listen then.
    matched: Timestamp,
    recent: Recent,
    /// Events that have come and are not held against anybody yet.
    waiting: Vec<EventMessage>,
    /// Runs for which the recent events count from a time on.
    late: Vec<(RunId, Timestamp)>,
    source: Option<Source>,
    /// Records on their way to the log: from when on their events are, and the mark once they are there.
    sending: Option<(Timestamp, Option<Timestamp>)>,
    idle: u32,
}

/// The last events, without a gap.
#[derive(Default)]
struct Recent {
    events: VecDeque<EventMessage>,
    bytes: usize,
    /// All events stored from then on are here.
    from: Option<Timestamp>,
}

impl Recent {
    fn push(&mut self, batch: Vec<EventMessage>) {
        for message in batch {
            self.bytes += message.bytes;
            self.events.push_back(message);
        }
        while self.events.len() > RECENT_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(old) = self.events.pop_front() else { break };
            self.bytes -= old.bytes;
            // Others of the same moment may be gone as well.
            self.from = Some(Timestamp(old.at.0.saturating_add(1)));
        }
    }

    fn holds(&self, since: Timestamp) -> bool {
        self.from.is_some_and(|from| from <= since)
    }
}

/// The stream, read in the background.
struct Source {
    from: Timestamp,
    batches: mpsc::Receiver<Vec<EventMessage>>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    fn open(events: Arc<dyn Events>, partition: PartitionNo, from: Timestamp) -> Self {
        let (sender, batches) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut last = (from, 0);
            loop {
                match read_on(events.as_ref(), &mut last, &sender).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%partition, %error, "cannot read the events; trying again"),
                }
                tokio::time::sleep(REOPEN_AFTER).await;
            }
        });
        Self { from, batches, task }
    }
}

/// Reads from behind the last event on, until nobody wants any more.
async fn read_on(
    events: &dyn Events,
    last: &mut (Timestamp, u64),
    sender: &mpsc::Sender<Vec<EventMessage>>,
) -> Result<(), crate::port::queue::QueueError> {
    let mut reader = events.read(last.0).await?;
    loop {
        let mut batch = reader.next(limit::EVENT_BATCH_MAX, limit::EVENT_BATCH_BYTES_MAX).await?;
        batch.retain(|m| (m.at, m.seq) > *last);
        let Some(newest) = batch.last() else { continue };
        *last = (newest.at, newest.seq);
        if sender.send(batch).await.is_err() {
            return Ok(());
        }
    }
}

impl Listens {
    /// The next events; never while others are not done with.
    pub(super) async fn next(&mut self) -> Vec<EventMessage> {
        let is_free = self.unknown.is_empty() && self.sending.is_none() && self.late.is_empty();
        if is_free && self.source.is_some() && !self.waiting.is_empty() {
            return std::mem::take(&mut self.waiting);
        }
        match self.source.as_mut().filter(|_| is_free) {
            Some(source) => match source.batches.recv().await {
                Some(batch) => batch,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// What the store says at a takeover.
    pub(super) fn restore(&mut self, run: RunId, at: Timestamp) {
        if run == NOBODY {
            self.mark = Some(at);
            self.stored = Some(at);
        } else {
            self.unknown.push_back(run);
        }
    }

    /// From when on events are not done with.
    fn low(&self) -> Option<Timestamp> {
        let late = self.late.iter().map(|(_, since)| *since);
        late.chain(self.sending.map(|(since, _)| since)).chain(self.mark).min()
    }

    /// A run listens from then on.
    fn opened(&mut self, run: RunId, since: Timestamp) {
        match &self.source {
            Some(source) if source.from <= since && self.matched < since => {}
            Some(_) if self.recent.holds(since) => self.late.push((run, since)),
            Some(_) | None => {
                self.source = None;
                self.mark = Some(self.mark.map_or(since, |mark| mark.min(since)));
            }
        }
    }
}

/// Under this run the mark stands among the timers in the store.
const NOBODY: RunId = RunId(uuid::Uuid::nil());

impl Owner {
    /// Takes note of runs that begin or end to listen, before the commit that makes it so.
    pub(super) fn note_listeners(&mut self, work: &mut Work) {
        for id in &work.dirty {
            let Some(cached) = self.cache.get(id) else { continue };
            let (Some(run), Some(plan)) = (&cached.run, &cached.plan) else { continue };
            let (since, known) = (run.listens_since(), self.listens.index.knows(*id));
            if since.is_none() && !known {
                continue;
            }
            let fresh = self.listens.index.fresh_since(run);
            self.listens.index.set(run, plan);
            if since.is_some() != known {
                work.timers.insert((*id, LISTENING), since);
            }
            if let Some(fresh) = fresh {
                self.listens.opened(*id, fresh);
            }
        }
        let low = self.listens.low();
        if low != self.listens.stored {
            work.timers.insert((NOBODY, LISTENING), low);
            self.listens.stored = low;
        }
    }

    /// Stores how far the events are done with, where no commit of a batch has done so.
    pub(super) async fn save_mark(&mut self) -> Result<(), OwnerError> {
        let gate = self.partition == GATE;
        let listens = &mut self.listens;
        listens.idle = if listens.index.is_empty() { listens.idle.saturating_add(1) } else { 0 };
        if listens.idle > IDLE_SWEEPS && !gate && listens.sending.is_none() {
            listens.source = None;
            listens.mark = None;
            listens.recent = Recent::default();
        }
        let low = listens.low();
        if low == listens.stored {
            return Ok(());
        }
        let mut commit = self.start(self.cursor.clone(), self.cursor.clone());
        match low {
            Some(low) => commit.timers_put.push((NOBODY, LISTENING, low)),
            None => commit.timers_drop.push((NOBODY, LISTENING)),
        }
        self.shared.ports.store.commit(commit).await?;
        self.listens.stored = low;
        Ok(())
    }

    /// Does what is next: learns of the runs that listen, holds late runs against the recent events, opens the stream.
    pub(super) async fn tend_events(&mut self) -> Result<(), OwnerError> {
        if !self.listens.unknown.is_empty() {
            return self.learn_listeners().await;
        }
        if self.listens.sending.is_some() {
            return Ok(());
        }
        if !self.listens.late.is_empty() {
            return self.catch_late().await;
        }
        let is_wanted = self.partition == GATE || !self.listens.index.is_empty();
        if is_wanted && self.listens.source.is_none() {
            let from = self.listens.mark.unwrap_or_else(|| self.shared.clock.now());
            self.listens.mark = Some(from);
            self.listens.matched = Timestamp(0);
            self.listens.recent = Recent { from: Some(from), ..Recent::default() };
            self.listens.waiting.clear();
            self.listens.source = Some(Source::open(self.shared.ports.events.clone(), self.partition, from));
        }
        Ok(())
    }

    async fn learn_listeners(&mut self) -> Result<(), OwnerError> {
        let page = self.listens.unknown.len().min(PAGE);
        let page: Vec<RunId> = self.listens.unknown.drain(..page).collect();
        self.load(page.iter().copied()).await?;
        for id in page {
            let Some(cached) = self.cache.get(&id) else { continue };
            if let (Some(run), Some(plan)) = (&cached.run, &cached.plan) {
                self.listens.index.set(run, plan);
            }
        }
        self.cache.trim();
        if self.listens.unknown.is_empty() && self.listens.mark.is_none() {
            self.listens.mark = self.listens.index.since();
        }
        self.inner.send(Inner::Events).ok();
        Ok(())
    }

    /// Events have come.
    pub(super) async fn hear_events(&mut self, mut batch: Vec<EventMessage>) -> Result<(), OwnerError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (records, done) = self.hold_against(&batch, None, Some(EVENT_PORTION)).await?;
        self.listens.waiting = batch.split_off(done);
        let (Some(first), Some(last)) = (batch.first().map(|m| m.at), batch.last().map(|m| m.at)) else {
            return Ok(());
        };
        self.put_strays_aside(&batch).await?;
        self.listens.matched = last;
        self.listens.recent.push(batch);
        self.send_events(records, first, Some(last));
        Ok(())
    }

    /// Holds runs that were not known to listen when they came against the recent events.
    async fn catch_late(&mut self) -> Result<(), OwnerError> {
        let late = std::mem::take(&mut self.listens.late);
        let Some(since) = late.iter().map(|(_, since)| *since).min() else { return Ok(()) };
        let runs = late.into_iter().map(|(run, _)| run).collect();
        let recent: Vec<EventMessage> = self.listens.recent.events.iter().filter(|m| m.at >= since).cloned().collect();
        let (records, _) = self.hold_against(&recent, Some(&runs), None).await?;
        self.send_events(records, since, None);
        Ok(())
    }

    /// The records for runs that take one of these events, of all that listen or of some, and how many events were looked at: when the
    /// time is over, not all.
    async fn hold_against(
        &mut self,
        batch: &[EventMessage],
        only: Option<&BTreeSet<RunId>>,
        within: Option<Duration>,
    ) -> Result<(Vec<LogRecord>, usize), OwnerError> {
        let (mut records, mut bytes, mut done, begin) = (Vec::new(), 0, 0, Instant::now());
        for message in batch {
            if done > 0 && within.is_some_and(|within| begin.elapsed() >= within) {
                break;
            }
            done += 1;
            let Ok((namespace, event)) = &message.event else { continue };
            let runs = self.listens.index.candidates(namespace, event);
            let runs: Vec<RunId> = runs.into_iter().filter(|run| only.is_none_or(|o| o.contains(run))).collect();
            if runs.is_empty() {
                continue;
            }
            let occurrence = Occurrence { event: event.as_ref().clone(), stored_at: message.at, seq: message.seq };
            for runs in runs.chunks(limit::EVENT_RUNS_MAX) {
                self.load(runs.iter().copied()).await?;
                for run in runs {
                    if !self.takes(*run, &occurrence) {
                        continue;
                    }
                    let event = Event::Occurred(Box::new(occurrence.clone()));
                    records.push(LogRecord { run: *run, event, reply: None });
                    bytes += message.bytes;
                    if bytes > limit::EVENT_BATCH_BYTES_MAX {
                        let log = self.shared.ports.log.clone();
                        append_all(log.as_ref(), self.partition, &records, || true).await;
                        records.clear();
                        bytes = 0;
                    }
                }
            }
        }
        self.cache.trim();
        Ok((records, done))
    }

    /// Whether a run takes an event. What its expressions do to the engine is the run's affair: it gets the record then.
    fn takes(&mut self, run: RunId, event: &Occurrence) -> bool {
        let Some(cached) = self.cache.get_mut(&run) else { return false };
        let (Some(run), Some(plan)) = (cached.run.as_mut(), cached.plan.as_deref()) else { return false };
        catch_unwind(AssertUnwindSafe(|| run.takes(plan, event))).unwrap_or(true)
    }

    /// Appends in the background; nothing else is sent meanwhile, so that records keep the order of their events.
    fn send_events(&mut self, records: Vec<LogRecord>, since: Timestamp, mark: Option<Timestamp>) {
        if records.is_empty() {
            self.events_sent(mark);
            return;
        }
        self.listens.sending = Some((since, mark));
        let (log, partition, inner) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            append_all(log.as_ref(), partition, &records, || !inner.is_closed()).await;
            // The owner may be gone by now; the next one reads the events again.
            inner.send(Inner::Events).ok();
        });
    }

    fn events_sent(&mut self, mark: Option<Timestamp>) {
        self.listens.sending = None;
        if let (Some(mark), Some(before)) = (mark, self.listens.mark)
            && self.listens.source.is_some()
        {
            self.listens.mark = Some(before.max(mark));
        }
    }

    /// Something of the above is done: go on.
    pub(super) async fn events_went_on(&mut self) -> Result<(), OwnerError> {
        if let Some((_, mark)) = self.listens.sending {
            self.events_sent(mark);
        }
        self.tend_events().await
    }

    /// What is no event goes to the dead letters, once, so that whoever published it finds out why.
    async fn put_strays_aside(&self, batch: &[EventMessage]) -> Result<(), OwnerError> {
        if self.partition != GATE {
            return Ok(());
        }
        for message in batch {
            let Err(reason) = &message.event else { continue };
            tracing::error!(
                seq = message.seq,
                reason,
                "a message among the events is none; it goes to the dead letters"
            );
            let mut problem = Problem::standard(Standard::Validation, reason.clone());
            problem.extra = Some(serde_json::json!({ "event": message.seq, "stored_at": message.at }));
            let letter = DeadLetter { pool: None, run: NOBODY, problem, task: None, record: None, deliveries: 1 };
            self.shared.ports.archive.bury(&letter).await?;
        }
        Ok(())
    }
}
