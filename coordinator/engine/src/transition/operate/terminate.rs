//! An operator ends a run at once: nothing is undone, and the runs that its steps wait for end in the same way.

use stepmill_protocol::{Operation, Problem};

use crate::command::Command;
use crate::run::End;
use crate::walk::Walk;

pub(super) fn carry_out(walk: &mut Walk<'_>, operation: &Operation, parked: bool) {
    walk.forget_to_undo();
    walk.by_force = true;
    let detail = if operation.reason.is_empty() { "no reason was given" } else { &operation.reason };
    let problem = walk.hold_problem(&Problem::own("terminated", 499, "Terminated", detail));
    walk.finish(End::Cancelled(problem));
    if parked {
        // It had nothing open that could be withdrawn.
        walk.commands.retain(|c| matches!(c, Command::Dispatch { .. }));
    }
}
