//! Events that are held against the listening runs, some runs at a time, so that no event, however many runs it may be for, keeps the
//! log waiting.

use std::collections::{BTreeSet, VecDeque};

use stepmill_engine::Listeners;
use stepmill_protocol::{Event, LogRecord, Occurrence, RunId, Timestamp, limit};

use super::progress::Step;
use crate::port::event::EventMessage;

/// Some events on their way through the runs.
pub(super) struct Matching {
    events: VecDeque<EventMessage>,
    /// Only these runs, where others have had the events.
    only: Option<BTreeSet<RunId>>,
    /// The event that is being held against runs, and those that are still to be asked.
    present: Option<(Box<Occurrence>, usize, VecDeque<RunId>)>,
    /// For those that take it.
    records: Vec<LogRecord>,
    bytes: usize,
    /// What is done with at the end.
    step: Step,
}

/// What comes next.
pub(super) enum Next {
    /// These runs are to be asked.
    Ask(Vec<RunId>),
    /// These records are to be appended, and there is more.
    Send(Vec<LogRecord>, Step),
    /// These are the last, if any.
    Done(Vec<LogRecord>, Step),
}

impl Matching {
    pub(super) fn new(events: Vec<EventMessage>, only: Option<BTreeSet<RunId>>, step: Step) -> Self {
        let events = events.into();
        Self { events, only, present: None, records: Vec::new(), bytes: 0, step }
    }

    /// From when on its events would have to be read again, where the mark does not say so.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.step.since
    }

    /// Its events are to be read again: nothing is done with at its end.
    pub(super) fn is_of_no_use(&mut self) {
        self.step.to = None;
    }

    /// What comes next.
    pub(super) fn next(&mut self, index: &Listeners) -> Next {
        loop {
            if self.bytes > limit::EVENT_BATCH_BYTES_MAX || self.records.len() >= limit::EVENT_RUNS_MAX {
                self.bytes = 0;
                // The end says what is done with.
                return Next::Send(std::mem::take(&mut self.records), Step { since: None, to: None });
            }
            if let Some((_, bytes, runs)) = &mut self.present {
                let room = (limit::EVENT_BATCH_BYTES_MAX / (*bytes).max(1)).clamp(1, limit::EVENT_RUNS_MAX);
                let page: Vec<RunId> = runs.drain(..runs.len().min(room)).collect();
                if !page.is_empty() {
                    return Next::Ask(page);
                }
                self.present = None;
            }
            let Some(message) = self.events.pop_front() else {
                return Next::Done(std::mem::take(&mut self.records), self.step);
            };
            let Ok((namespace, event)) = &message.event else { continue };
            let runs = index.candidates(namespace, event).into_iter();
            let runs: VecDeque<RunId> = runs.filter(|run| self.only.as_ref().is_none_or(|o| o.contains(run))).collect();
            if !runs.is_empty() {
                let occurrence = Occurrence { event: event.as_ref().clone(), stored_at: message.at, seq: message.seq };
                self.present = Some((Box::new(occurrence), message.bytes, runs));
            }
        }
    }

    /// The event that the runs are asked about.
    pub(super) fn event(&self) -> Option<&Occurrence> {
        self.present.as_ref().map(|(event, ..)| event.as_ref())
    }

    /// Runs of the last page that were not asked yet.
    pub(super) fn put_back(&mut self, mut rest: VecDeque<RunId>) {
        if let Some((.., runs)) = &mut self.present {
            rest.append(runs);
            *runs = rest;
        }
    }

    /// A run takes it.
    pub(super) fn taken_by(&mut self, run: RunId) {
        let Some((event, bytes, _)) = &self.present else { return };
        self.records.push(LogRecord { run, event: Event::Occurred(event.clone()), reply: None });
        self.bytes += bytes;
    }
}
