//! What one batch changes: collected while folding, written by one commit, acted upon after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepmill_definition::plan::Plan;
use stepmill_engine::{Command, Told};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{CommandId, DeadLetter, Digest, Event, PoolName, Priority, RunId, TimerId, Timestamp};

/// Under this number a run's wish for another turn stands among its timers in the store, so that the next owner finds it. The
/// engine numbers its own timers from 1.
pub(super) const TURN: TimerId = TimerId(0);

/// Under this number it stands there that a run listens for events, and since when; under the nil run, how far the events are done
/// with.
pub(super) const LISTENING: TimerId = TimerId(u64::MAX);

/// Beside it, under the nil run: the sequence of the last event that is done with; 0 where only the time is known.
pub(super) const LISTENING_SEQ: TimerId = TimerId(u64::MAX - 1);

/// The changes of one batch. For each dispatch and timer the last word counts.
#[derive(Default)]
pub(super) struct Work {
    /// Plans of new runs.
    pub(super) plans: BTreeMap<Digest, Arc<Plan>>,
    /// Runs whose stored state changes.
    pub(super) dirty: BTreeSet<RunId>,
    /// Dispatches: some = open, none = settled.
    pub(super) outbox: BTreeMap<CommandId, Option<(PoolName, Priority)>>,
    /// Timers: some = armed, none = disarmed.
    pub(super) timers: BTreeMap<(RunId, TimerId), Option<Timestamp>>,
    /// Runs that ask for another turn (some), or had it (none).
    pub(super) yields: BTreeMap<RunId, Option<u64>>,
    /// Settled dispatches that neither their report nor their loss settled: their messages are of no use.
    pub(super) revoked: BTreeSet<CommandId>,
    /// What happened, for whoever wants to know.
    pub(super) told: Vec<Told>,
    /// Answers to whoever waits.
    pub(super) answers: Vec<(String, Folded)>,
    /// Events that are put aside.
    pub(super) letters: Vec<DeadLetter>,
    /// The position and time of the last message of the batch.
    pub(super) last: Option<(u64, Timestamp)>,
}

impl Work {
    /// Takes the engine's commands for one run.
    pub(super) fn take(&mut self, run: RunId, at: Timestamp, event: &Event, commands: Vec<Command>) {
        if matches!(event, Event::Resume { .. }) {
            self.yields.insert(run, None);
            self.timers.insert((run, TURN), None);
        }
        for command in commands {
            match command {
                Command::Dispatch { id, pool, priority } => {
                    self.outbox.insert(id, Some((pool, priority)));
                }
                Command::Withdraw { id } => {
                    self.outbox.insert(id, None);
                    let by_itself = match event {
                        Event::Report(report) => report.id == id,
                        Event::TaskLost { id: settled } | Event::Acted { id: settled, .. } => *settled == id,
                        Event::Submitted(_)
                        | Event::Signal { .. }
                        | Event::TimerDue { .. }
                        | Event::Cancel { .. }
                        | Event::Resume { .. }
                        | Event::ChildEnded { .. }
                        | Event::Park { .. }
                        | Event::Snapshot { .. }
                        | Event::Occurred(_) => false,
                    };
                    if !by_itself {
                        self.revoked.insert(id);
                    }
                }
                Command::Arm { timer, due } => {
                    self.timers.insert((run, timer), Some(due));
                }
                Command::Disarm { timer } => {
                    self.timers.insert((run, timer), None);
                }
                Command::Yield { number } => {
                    self.yields.insert(run, Some(number));
                    self.timers.insert((run, TURN), Some(at));
                }
            }
        }
    }
}
