//! The owner could not fold an event of this run and puts the run aside, for a person to look at.

use stepmill_protocol::Problem;
use stepmill_protocol::api::Folded;

use crate::advance::Outcome;
use crate::command::Command;
use crate::fault::shortened;
use crate::run::{Phase, Run};
use crate::values::Values;
use crate::walk::Walk;

/// A run that is on its way: its state is kept as it is, what it has open is withdrawn.
pub(crate) fn fold(walk: Walk<'_>, reason: &str) -> Outcome {
    let Walk { at, head, mut tally, values, errands, live, .. } = walk;
    tally.rev = tally.rev.saturating_add(1);
    tally.steering.parked_at = Some(at);
    let problem = Problem::own("parked", 500, "Parked", reason);
    let fits = serde_json::to_value(&problem).is_ok_and(|value| Values::fits(&value));
    let problem = if fits { problem } else { shortened(&problem) };
    let run = Run { head, tally, values, errands, phase: Phase::Live(live), checked: true };
    let mut commands: Vec<Command> = run.open_steps().into_iter().map(|(id, _, _)| Command::Withdraw { id }).collect();
    commands.extend(run.open_timers().into_iter().map(|(timer, _)| Command::Disarm { timer }));
    let Run { head, tally, values, errands, phase, checked } = run;
    let phase = match phase {
        Phase::Live(live) => Phase::Parked(live, problem),
        Phase::Parked(..) | Phase::Ended(..) => phase,
    };
    Outcome { run: Some(Run { head, tally, values, errands, phase, checked }), commands, answer: Folded::Applied }
}
