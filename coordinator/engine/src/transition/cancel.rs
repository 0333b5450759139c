//! Somebody ends a run.

use stepmill_protocol::Problem;
use stepmill_protocol::api::Folded;

use crate::advance::ignored;
use crate::command::Command;
use crate::run::End;
use crate::walk::Walk;

/// A run that is on its way: everything it waits for is withdrawn.
pub(crate) fn fold(walk: &mut Walk<'_>, reason: &str) -> Folded {
    if walk.live.ending.is_some() {
        return ignored("the run is undoing what it has done, and ends then");
    }
    let problem = walk.hold_problem(&cancelled(reason));
    walk.finish(End::Cancelled(problem));
    Folded::Applied
}

/// What a cancelled run ended with.
pub(super) fn cancelled(reason: &str) -> Problem {
    let detail = if reason.is_empty() { "no reason was given" } else { reason };
    Problem::own("cancelled", 499, "Cancelled", detail)
}

/// A run that was put aside: it has nothing open that could be withdrawn, only runs that it had started are to be ended. One that
/// could not be undone is left as it is.
pub(crate) fn put_aside(walk: &mut Walk<'_>, reason: &str) -> Folded {
    if walk.live.ending.is_some() {
        walk.forget_to_undo();
    }
    let answer = fold(walk, reason);
    walk.commands.retain(|c| matches!(c, Command::Dispatch { .. }));
    answer
}
