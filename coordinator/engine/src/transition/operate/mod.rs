//! An operator acts on a run, wherever it stands. Each act is judged first, on the run as it is; what is refused or changes nothing
//! leaves the run alone.

mod judge;
mod pause;
mod rerun;
mod result;
mod terminate;

use stepmill_definition::plan::Plan;
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Act, Operation, Timestamp};

use crate::advance::Outcome;
use crate::observe::Observer;
use crate::run::{Phase, Run};
use crate::steering::Wreck;
use crate::walk::Walk;

use judge::judge;

/// An act on a run that exists.
pub(crate) fn fold<'p>(
    plan: &'p Plan,
    at: Timestamp,
    run: Run,
    operation: &Operation,
    observer: Option<&'p Observer>,
) -> Outcome {
    let place = match judge(plan, &run, operation) {
        Ok(place) => place,
        Err(answer) => return Outcome::unchanged(Some(run), answer),
    };
    let before = standing(&run);
    let parked = matches!(run.phase, Phase::Parked(..));
    let mut walk = open(plan, at, run, observer);
    walk.one_step(|walk| match &operation.act {
        Act::Terminate => terminate::carry_out(walk, operation, parked),
        Act::Pause => pause::pause(walk, operation),
        Act::Unpause => pause::go_on(walk, parked),
        Act::Rerun { input, .. } => rerun::carry_out(walk, &place, input.as_ref()),
        Act::Skip { output, .. } => result::skip(walk, &place, output),
        Act::Set { output, .. } => result::set(walk, &place, output),
        Act::Hold { .. } | Act::Release { .. } => {}
    });
    // What it refers to may not be needed any more.
    drop(place);
    let mut outcome = walk.go(Folded::Applied);
    if let Some(run) = &mut outcome.run {
        let after = standing(run);
        run.tally.steering.note(operation, at, before, after);
    }
    outcome
}

/// Where a run stands, in a word.
fn standing(run: &Run) -> &'static str {
    if run.is_paused() { "paused" } else { run.state().as_str() }
}

/// The run on its way: one that has failed as it was before.
fn open<'p>(plan: &'p Plan, at: Timestamp, run: Run, observer: Option<&'p Observer>) -> Walk<'p> {
    let Run { head, mut tally, values, errands, phase, .. } = run;
    match phase {
        Phase::Live(live) | Phase::Parked(live, _) => {
            Walk::new(plan, at, head, tally, values, errands, live).observed(observer)
        }
        Phase::Ended(..) => {
            let live = tally.steering.wreck.take().map(|wreck| Wreck::into_live(*wreck)).unwrap_or_default();
            Walk::new(plan, at, head, tally, values, errands, live).observed(observer)
        }
    }
}
