//! How far a partition has held the events against its runs. The mark moves over events only in a commit that has folded what
//! they led to: until then the log may lose its end, and the events are read again.

use std::collections::VecDeque;

use stepmill_protocol::{TimerId, Timestamp};

use super::super::work::{LISTENING, LISTENING_SEQ};
use crate::port::event::EventPlace;

/// Events done with of which the log has not been folded so far; beyond it no more are read.
const WAITING_MAX: usize = 64;

/// How far it has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Events up to this place are done with. None: nobody listens.
    mark: Option<EventPlace>,
    /// What the store has of that.
    stored: Option<EventPlace>,
    /// Records on their way to the log.
    sending: Option<Step>,
    /// Records in the log, in its order, and where the last of them lies.
    waiting: VecDeque<(Step, u64)>,
    /// Where the last record of events lies in the log.
    last: u64,
}

/// What is done with once some records are folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// From when on events would have to be read again if they were not, where the mark does not say so.
    pub(super) since: Option<Timestamp>,
    /// Up to where the stream is done with then, if that changes.
    pub(super) to: Option<EventPlace>,
}

impl Progress {
    /// The store has one part of the place.
    pub(super) fn restore(&mut self, timer: TimerId, value: Timestamp) {
        let stored = self.stored.get_or_insert_default();
        if timer == LISTENING {
            stored.at = value
        } else {
            stored.seq = value.0
        }
        self.mark = self.stored;
    }

    /// Where to begin to read.
    pub(super) fn mark(&self) -> Option<EventPlace> {
        self.mark
    }

    /// Reading begins there.
    pub(super) fn begin(&mut self, at: EventPlace) {
        self.mark = Some(at);
    }

    /// Events from then on are to be read (again), whatever was done with later ones.
    pub(super) fn back_to(&mut self, since: Timestamp) {
        let before = self.mark.filter(|mark| mark.at <= since);
        self.mark = Some(before.unwrap_or(EventPlace { at: since, seq: 0 }));
        self.waiting.iter_mut().map(|(step, _)| step).chain(&mut self.sending).for_each(|step| step.to = None);
    }

    /// Nobody listens any more.
    pub(super) fn end(&mut self) {
        self.mark = None;
    }

    /// Whether more may be read and sent.
    pub(super) fn has_room(&self) -> bool {
        self.sending.is_none() && self.waiting.len() < WAITING_MAX
    }

    /// Whether nothing is on its way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.sending.is_none() && self.waiting.is_empty()
    }

    /// Records are on their way to the log; the step is made when they are folded.
    pub(super) fn send(&mut self, step: Step) {
        self.sending = Some(step);
    }

    /// They are in the log, the last of them there.
    pub(super) fn arrived(&mut self, seq: u64) {
        self.last = self.last.max(seq);
        if let Some(step) = self.sending.take() {
            self.waiting.push_back((step, self.last));
        }
    }

    /// No run took any of these events: they are done with as soon as those before them.
    pub(super) fn pass(&mut self, step: Step) {
        self.waiting.push_back((step, self.last));
    }

    /// The log is folded up to there, in the commit that is about to be made.
    pub(super) fn folded(&mut self, cursor: u64) {
        while let Some((step, _)) = self.waiting.front().filter(|(_, seq)| *seq <= cursor) {
            if step.to.is_some() && self.mark.is_some() {
                self.mark = step.to;
            }
            self.waiting.pop_front();
        }
    }

    /// What is to be stored now, when it is not stored already. `late`: from when on runs still wait for events.
    pub(super) fn for_store(&mut self, late: Option<Timestamp>) -> Option<[(TimerId, Option<Timestamp>); 2]> {
        let again = self.waiting.iter().map(|(step, _)| step).chain(&self.sending);
        let again = again.filter_map(|step| step.since).chain(late).min();
        let low = match (self.mark, again) {
            (Some(mark), Some(since)) => Some(EventPlace { at: mark.at.min(since), seq: 0 }),
            (Some(mark), None) => Some(mark),
            (None, since) => since.map(|at| EventPlace { at, seq: 0 }),
        };
        if low == self.stored {
            return None;
        }
        self.stored = low;
        Some([(LISTENING, low.map(|p| p.at)), (LISTENING_SEQ, low.map(|p| Timestamp(p.seq)))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u64, seq: u64) -> EventPlace {
        EventPlace { at: Timestamp(at), seq }
    }

    fn to(at: u64, seq: u64) -> Step {
        Step { since: None, to: Some(place(at, seq)) }
    }

    #[test]
    fn the_mark_moves_only_with_a_commit_that_has_folded_what_was_appended() {
        let mut progress = Progress::default();
        progress.begin(place(100, 0));
        progress.send(to(120, 4));
        progress.arrived(9);
        progress.folded(8);
        assert_eq!(progress.mark(), Some(place(100, 0)));
        progress.folded(9);
        assert_eq!(progress.mark(), Some(place(120, 4)));
        assert!(progress.is_at_rest());
    }

    #[test]
    fn events_that_nobody_took_wait_for_those_before_them() {
        let mut progress = Progress::default();
        progress.begin(place(100, 0));
        progress.send(to(120, 4));
        progress.arrived(9);
        progress.pass(to(140, 7));
        progress.folded(8);
        assert_eq!(progress.mark(), Some(place(100, 0)));
        progress.folded(9);
        assert_eq!(progress.mark(), Some(place(140, 7)));
    }

    #[test]
    fn what_was_read_before_a_run_began_to_listen_moves_no_mark_after_it() {
        let mut progress = Progress::default();
        progress.begin(place(100, 0));
        progress.send(to(120, 4));
        progress.back_to(Timestamp(90));
        progress.arrived(9);
        progress.folded(9);
        assert_eq!(progress.mark(), Some(place(90, 0)));
    }

    #[test]
    fn a_late_run_holds_what_is_stored_back_until_its_records_are_folded() {
        let mut progress = Progress::default();
        progress.begin(place(100, 3));
        assert_eq!(stored(&mut progress, None), Some((100, 3)));
        assert_eq!(stored(&mut progress, Some(Timestamp(80))), Some((80, 0)));
        progress.send(Step { since: Some(Timestamp(80)), to: None });
        assert_eq!(stored(&mut progress, None), None);
        progress.arrived(12);
        assert_eq!(stored(&mut progress, None), None);
        progress.folded(12);
        assert_eq!(stored(&mut progress, None), Some((100, 3)));
    }

    #[test]
    fn what_is_stored_comes_back() {
        let (mut before, mut after) = (Progress::default(), Progress::default());
        before.begin(place(100, 3));
        for (timer, value) in before.for_store(None).unwrap() {
            after.restore(timer, value.unwrap());
        }
        assert_eq!(after.mark(), Some(place(100, 3)));
        assert!(after.for_store(None).is_none());
    }

    fn stored(progress: &mut Progress, late: Option<Timestamp>) -> Option<(u64, u64)> {
        let [(_, at), (_, seq)] = progress.for_store(late)?;
        Some((at?.0, seq?.0))
    }
}
