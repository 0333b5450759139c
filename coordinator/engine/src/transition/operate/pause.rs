//! An operator pauses a run, or lets it go on.
//!
//! While a run is paused no token enters a step. What comes is folded: reports, events and signals; waits and the delays between
//! attempts end in their time. What then would go on waits for the end of the pause. Timeouts stand still: those of the workflow,
//! of tasks and of attempts have left afterwards what they had left before. A run that has nothing more to begin may end.

use stepmill_protocol::Operation;

use crate::command::Command;
use crate::steering::Paused;
use crate::walk::Walk;

/// A run that is on its way.
pub(super) fn pause(walk: &mut Walk<'_>, operation: &Operation) {
    walk.live.paused = Some(Paused { since: walk.at, by: operation.by.clone(), reason: operation.reason.clone() });
    let held = walk.live.timers.iter().filter(|(_, timer)| walk.live.holds(timer));
    walk.commands.extend(held.map(|(timer, _)| Command::Disarm { timer: *timer }));
}

/// A run that is paused or parked.
pub(super) fn go_on(walk: &mut Walk<'_>, parked: bool) {
    if parked {
        if walk.live.ending.is_some() {
            return walk.undo_last();
        }
        let since = walk.tally.steering.parked_at.unwrap_or(walk.head.submitted_at);
        walk.revive(since, None, true);
    }
    let Some(paused) = walk.live.paused.take() else { return };
    let stood = walk.at.since(paused.since);
    for (timer, armed) in &mut walk.live.timers {
        if armed.ends.is_limit() {
            armed.due = armed.due.plus(stood);
            walk.commands.push(Command::Arm { timer: *timer, due: armed.due });
        }
    }
}
