//! Events for the listening runs of a partition. The owner reads the stream of events from a mark of its own on, as long as one of its
//! runs listens, holds each event against those, and appends one record for each run that takes it; the engine does the rest.
//!
//! The mark is a place: events up to it have been held against every run that listens, and what came of it is folded. It is stored with the
//! partition's commits, and set back in the very commit that makes a run listen, to the moment from which that run takes events. After a
//! takeover the events behind the mark are read again; what was appended before is a duplicate to the engine.
//!
//! | file | owns |
//! | --- | --- |
//! | `progress` | the mark |
//! | `source` | reading the stream |
//! | `matching` | holding events against runs, some at a time |
//! | `recent` | the last events, for runs that were not known to listen |
//! | `stray` | what is no event |

mod matching;
mod progress;
mod recent;
mod source;
mod stray;

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stepmill_engine::Listeners;
use stepmill_protocol::{LogRecord, Occurrence, PartitionNo, RunId, TimerId, Timestamp};

use super::OwnerError;
use super::owner::{Inner, Owner};
use super::settle::append_all;
use super::work::{LISTENING, Work};
use crate::port::event::{EventMessage, EventPlace};

use matching::{Matching, Next};
use progress::{Progress, Step};
use recent::Recent;
use source::Source;
use stray::Strays;

/// How long events are held against runs before the owner looks at what else there is.
const EVENT_PORTION: Duration = Duration::from_millis(50);
/// Runs looked at at a time after a takeover.
const PAGE: usize = 500;
/// Sweeps without a listening run after which the stream is not read any more.
const IDLE_SWEEPS: u32 = 10;
/// The partition whose owner puts aside what is no event.
const GATE: PartitionNo = PartitionNo(0);
/// Under this run the mark stands among the timers in the store.
const NOBODY: RunId = RunId(uuid::Uuid::nil());

/// What an owner knows of events.
#[derive(Default)]
pub(super) struct Listens {
    index: Listeners,
    progress: Progress,
    /// Up to when events were stored that were held against the runs that were known to listen then.
    matched: Timestamp,
    recent: Recent,
    /// Runs for which the recent events count from a time on.
    late: Vec<(RunId, Timestamp)>,
    source: Option<Source>,
    matching: Option<Matching>,
    strays: Strays,
    idle: u32,
}

impl Listens {
    /// The next events; never while others are not done with.
    pub(super) async fn next(&mut self) -> Vec<EventMessage> {
        let is_free = self.matching.is_none() && self.late.is_empty() && self.progress.has_room();
        match self.source.as_mut().filter(|_| is_free) {
            Some(source) => match source.next().await {
                Some(batch) => batch,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Whether events are being held against runs and that can go on.
    pub(super) fn can_go_on(&self) -> bool {
        self.matching.is_some() && self.progress.has_room()
    }

    /// How far events are done with, as the store says at a takeover.
    pub(super) fn restore_mark(&mut self, timer: TimerId, value: Timestamp) {
        self.progress.restore(timer, value);
    }

    /// From when on runs still wait for events that others have had.
    fn late_since(&self) -> Option<Timestamp> {
        let late = self.late.iter().map(|(_, since)| *since);
        late.chain(self.matching.as_ref().and_then(Matching::since)).min()
    }

    /// A run listens from then on.
    fn opened(&mut self, run: RunId, since: Timestamp) {
        match &self.source {
            Some(source) if source.from <= since && self.matched < since => {}
            Some(_) if self.recent.holds(since) => self.late.push((run, since)),
            Some(_) | None => {
                self.source = None;
                if let Some(matching) = &mut self.matching {
                    matching.is_of_no_use();
                }
                self.progress.back_to(since);
            }
        }
    }

    /// Reads no more.
    fn rest(&mut self) {
        self.source = None;
        self.progress.end();
        self.recent = Recent::default();
    }
}

/// Whether the mark stands under this run.
pub(super) fn is_mark(run: RunId) -> bool {
    run == NOBODY
}

impl Owner {
    /// Learns which runs listen, before anything is folded. What stands in the store of runs that do so no more is removed.
    pub(super) async fn learn_listeners(&mut self, runs: &[RunId]) -> Result<(), OwnerError> {
        let mut commit = self.start(self.cursor.clone(), self.cursor.clone());
        for page in runs.chunks(PAGE) {
            self.load(page.iter().copied()).await?;
            for id in page {
                let Some(cached) = self.cache.get(id) else { continue };
                match (&cached.run, &cached.plan) {
                    (Some(run), Some(plan)) if run.listens_since().is_some() => self.listens.index.set(run, plan),
                    (Some(run), _) if run.listens_since().is_none() => commit.timers_drop.push((*id, LISTENING)),
                    (None, _) if cached.broken.is_none() => commit.timers_drop.push((*id, LISTENING)),
                    // It cannot be read, or its plan cannot be had: it still listens.
                    (Some(_) | None, _) => {}
                }
            }
            self.cache.trim();
        }
        if self.listens.progress.mark().is_none()
            && let Some(since) = self.listens.index.since()
        {
            self.listens.progress.back_to(since);
        }
        if !commit.timers_drop.is_empty() {
            self.shared.ports.store.commit(commit).await?;
        }
        Ok(())
    }

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
        if let Some((seq, _)) = work.last {
            self.listens.progress.folded(seq);
        }
        let late = self.listens.late_since();
        for (timer, value) in self.listens.progress.for_store(late).into_iter().flatten() {
            work.timers.insert((NOBODY, timer), value);
        }
    }

    /// Stores how far the events are done with, where no commit of a batch has done so.
    pub(super) async fn save_mark(&mut self) -> Result<(), OwnerError> {
        let gate = self.partition == GATE;
        let listens = &mut self.listens;
        listens.idle = if listens.index.is_empty() { listens.idle.saturating_add(1) } else { 0 };
        let is_at_rest = listens.progress.is_at_rest() && listens.matching.is_none() && listens.late.is_empty();
        if listens.idle > IDLE_SWEEPS && !gate && is_at_rest {
            listens.rest();
        }
        let late = listens.late_since();
        let Some(parts) = listens.progress.for_store(late) else { return Ok(()) };
        let mut commit = self.start(self.cursor.clone(), self.cursor.clone());
        for (timer, value) in parts {
            match value {
                Some(value) => commit.timers_put.push((NOBODY, timer, value)),
                None => commit.timers_drop.push((NOBODY, timer)),
            }
        }
        self.shared.ports.store.commit(commit).await?;
        Ok(())
    }

    /// Begins what is next: holds late runs against the recent events, opens the stream.
    pub(super) fn tend_events(&mut self) {
        let listens = &mut self.listens;
        if listens.matching.is_some() {
            return;
        }
        if let Some(since) = listens.late.iter().map(|(_, since)| *since).min() {
            let runs: BTreeSet<RunId> = std::mem::take(&mut listens.late).into_iter().map(|(run, _)| run).collect();
            let step = Step { since: Some(since), to: None };
            listens.matching = Some(Matching::new(listens.recent.since(since), Some(runs), step));
            return;
        }
        let is_wanted = self.partition == GATE || !listens.index.is_empty();
        if is_wanted && listens.source.is_none() {
            let now = EventPlace { at: self.shared.clock.now(), seq: 0 };
            let begin = listens.progress.mark().unwrap_or(now);
            listens.progress.begin(begin);
            listens.matched = Timestamp(0);
            let source = Source::open(self.shared.ports.events.clone(), self.partition, begin);
            listens.recent = Recent::from(source.from);
            listens.source = Some(source);
        }
    }

    /// Events have come.
    pub(super) fn hear_events(&mut self, batch: Vec<EventMessage>) {
        let Some(last) = batch.last().map(EventMessage::place) else { return };
        let listens = &mut self.listens;
        if self.partition == GATE {
            for message in &batch {
                if let Err(reason) = &message.event {
                    listens.strays.put_aside(&self.shared.ports.archive, message, reason);
                }
            }
        }
        listens.matched = batch.iter().map(|m| m.at).fold(listens.matched, Timestamp::max);
        listens.recent.push(&batch);
        listens.matching = Some(Matching::new(batch, None, Step { since: None, to: Some(last) }));
    }

    /// Holds events against some more runs. Nothing is awaited but the store, where runs are not in memory.
    pub(super) async fn match_events(&mut self) -> Result<(), OwnerError> {
        let Some(mut matching) = self.listens.matching.take() else { return Ok(()) };
        match matching.next(&self.listens.index) {
            Next::Ask(runs) => {
                self.load(runs.iter().copied()).await?;
                let Some(event) = matching.event().cloned() else { return Ok(()) };
                let (mut runs, begin) = (VecDeque::from(runs), Instant::now());
                while let Some(run) = runs.pop_front() {
                    if self.takes(run, &event) {
                        matching.taken_by(run);
                    }
                    if begin.elapsed() >= EVENT_PORTION {
                        break;
                    }
                }
                matching.put_back(runs);
                self.cache.trim();
                self.listens.matching = Some(matching);
            }
            Next::Send(records, step) => {
                self.send_events(records, step);
                self.listens.matching = Some(matching);
            }
            Next::Done(records, step) => {
                self.send_events(records, step);
                self.tend_events();
            }
        }
        Ok(())
    }

    /// Whether a run takes an event. What its expressions do to the engine is the run's affair: it gets the record then.
    fn takes(&mut self, run: RunId, event: &Occurrence) -> bool {
        let Some(cached) = self.cache.get_mut(&run) else { return false };
        let (Some(run), Some(plan)) = (cached.run.as_mut(), cached.plan.as_deref()) else { return false };
        catch_unwind(AssertUnwindSafe(|| run.takes(plan, event))).unwrap_or(true)
    }

    /// Appends in the background; nothing else is sent meanwhile, so that records keep the order of their events.
    fn send_events(&mut self, records: Vec<LogRecord>, step: Step) {
        if records.is_empty() {
            self.listens.progress.pass(step);
            self.listens.progress.folded(self.cursor.seq);
            return;
        }
        self.listens.progress.send(step);
        let (log, partition, inner) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            let last = append_all(log.as_ref(), partition, &records, || !inner.is_closed()).await;
            // The owner may be gone by now; the next one reads the events again.
            inner.send(Inner::EventsAppended(last)).ok();
        });
    }

    /// Records of events are in the log.
    pub(super) fn events_appended(&mut self, last: u64) {
        self.listens.progress.arrived(last);
        self.listens.progress.folded(self.cursor.seq);
        self.tend_events();
    }
}
