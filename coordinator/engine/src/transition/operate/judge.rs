//! Whether an act can be done, and where.

use stepmill_definition::plan::{NodeId, Plan};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Act, Operation, Problem, Target, Timestamp, Value, limit};

use crate::advance::ignored;
use crate::frame::{Frame, FrameId, Place as At, Ready, State, TryPhase};
use crate::run::{End, Live, Phase, Run};
use crate::steering::{Failed, Wreck};
use crate::values::{Held, Values};

/// Tokens at the same step that a refusal names.
const TOKENS_TOLD: usize = 10;

/// Where an act is done.
pub(super) enum Place {
    /// On the whole run.
    Run,
    /// At a step that is under way.
    Waiting(FrameId),
    /// At a step that waits for its next attempt.
    Delayed(FrameId),
    /// At a step that was under way when the run was put aside, at this time.
    Aside(FrameId, Timestamp),
    /// At the step that ended the run, at this time.
    Failed(FrameId, Timestamp),
    /// The same, where a token was about to enter it.
    Entering(At, NodeId, Held, Timestamp),
}

/// Judges an act. What it answers instead of a place is the answer to whoever acts.
pub(super) fn judge(plan: &Plan, run: &Run, operation: &Operation) -> Result<Place, Folded> {
    if run.tally.steering.knows(operation.id.into_bytes()) {
        return Err(ignored("this act was done before"));
    }
    if operation.by.len() > limit::ACTOR_BYTES_MAX || operation.reason.len() > limit::REASON_BYTES_MAX {
        let (by, reason) = (limit::ACTOR_BYTES_MAX, limit::REASON_BYTES_MAX);
        return refuse(
            400,
            format!("`by` has at most {by} bytes (ACTOR_BYTES_MAX), `reason` {reason} (REASON_BYTES_MAX)"),
        );
    }
    match &operation.act {
        Act::Terminate => match &run.phase {
            Phase::Live(_) | Phase::Parked(..) => Ok(Place::Run),
            Phase::Ended(_, end) => Err(ignored(how(end))),
        },
        Act::Pause => match &run.phase {
            Phase::Live(Live { paused: None, .. }) => Ok(Place::Run),
            Phase::Live(_) => Err(ignored("the run is paused already")),
            Phase::Parked(..) => Err(ignored("the run is parked: nothing of it goes on")),
            Phase::Ended(_, end) => Err(ignored(how(end))),
        },
        Act::Unpause => match &run.phase {
            Phase::Live(Live { paused: Some(_), .. }) | Phase::Parked(..) => Ok(Place::Run),
            Phase::Live(_) => Err(ignored("the run is not paused")),
            Phase::Ended(_, end) => Err(ignored(how(end))),
        },
        Act::Rerun { step, input } => {
            if let Some(input) = input {
                fits(input, "input")?;
            }
            let place = find(plan, run, step)?;
            may_rerun(run, &place, input.is_some())?;
            Ok(place)
        }
        Act::Skip { step, output } | Act::Set { step, output } => {
            fits(output, "output")?;
            find(plan, run, step)
        }
        Act::Hold { .. } | Act::Release { .. } => refuse(400, "what is held back is no matter of a single run"),
    }
}

fn refuse<T>(status: u16, detail: impl Into<String>) -> Result<T, Folded> {
    let (name, title) = match status {
        404 => ("no-such-step", "No such step"),
        409 => ("wrong-state", "Wrong state"),
        413 => ("too-large", "Too large"),
        _ => ("invalid-act", "Invalid act"),
    };
    Err(Folded::Refused(Problem::own(name, status, title, detail)))
}

fn fits(value: &Value, what: &str) -> Result<(), Folded> {
    if Values::fits(value) {
        return Ok(());
    }
    let (bytes, depth) = (limit::VALUE_BYTES_MAX, limit::VALUE_DEPTH_MAX);
    refuse(413, format!("the {what} has more than {bytes} bytes (VALUE_BYTES_MAX) or {depth} levels (VALUE_DEPTH_MAX)"))
}

fn how(end: &End) -> &'static str {
    match end {
        End::Completed(_) => "the run is completed",
        End::Faulted(_) => "the run has faulted",
        End::Cancelled(_) => "the run was cancelled",
    }
}

/// The step that is meant.
fn find(plan: &Plan, run: &Run, target: &Target) -> Result<Place, Folded> {
    let undoing = "the run undoes what it has done: its steps are as they are; fork it to begin again from one of them";
    match &run.phase {
        Phase::Live(live) | Phase::Parked(live, _) if live.ending.is_some() => refuse(409, undoing),
        Phase::Live(live) => {
            let id = among(plan, live, target)?;
            let delayed = live.frames.get(&id).is_some_and(is_delayed);
            Ok(if delayed { Place::Delayed(id) } else { Place::Waiting(id) })
        }
        Phase::Parked(live, _) => {
            let since = run.tally.steering.parked_at.unwrap_or(run.head.submitted_at);
            Ok(Place::Aside(among(plan, live, target)?, since))
        }
        Phase::Ended(at, End::Faulted(_)) => match &run.tally.steering.wreck {
            Some(wreck) => failed(plan, wreck, target, *at),
            None => refuse(
                409,
                "the run did not end with the failure of a step that could be done again (it was its own timeout, input or output, or \
                 its steps were undone); fork it to begin again from one of its steps",
            ),
        },
        Phase::Ended(_, end @ (End::Completed(_) | End::Cancelled(_))) => {
            refuse(409, format!("{}; fork it to begin again from one of its steps", how(end)))
        }
    }
}

fn is_delayed(frame: &Frame) -> bool {
    match &frame.state {
        State::Call(call) => call.not_before.is_some(),
        State::Try(t) => matches!(t.phase, TryPhase::Delay(_)),
        State::List
        | State::Scope
        | State::Loop(_)
        | State::Gather(..)
        | State::Fork(_)
        | State::Wait(_)
        | State::Listen(_) => false,
    }
}

/// One of the tasks that are under way.
fn among(plan: &Plan, live: &Live, target: &Target) -> Result<FrameId, Folded> {
    let is_there = |node: NodeId| plan.get(node).is_some_and(|node| node.path == target.path);
    let mut there: Vec<FrameId> = live.frames.iter().filter(|(_, f)| is_there(f.node)).map(|(id, _)| *id).collect();
    // The list around an extended task has the task's path: where the token is at the task, the task is meant.
    let around: Vec<FrameId> =
        there.iter().filter_map(|id| live.frames.get(id)?.place.parent).filter(|id| there.contains(id)).collect();
    there.retain(|id| !around.contains(id));
    let path = &target.path;
    match (there.as_slice(), target.token) {
        ([], _) => {
            let soon = live.ready.iter().any(|r| matches!(r, Ready::Enter(_, node, _) if is_there(*node)));
            match soon {
                true => refuse(409, format!("the run is about to begin {path}; try again when it has")),
                false => refuse(404, format!("the run is not at {path} now; `get` shows where it is")),
            }
        }
        ([only], None) => Ok(*only),
        (several, Some(token)) => match several.iter().find(|id| id.0 == token) {
            Some(id) => Ok(*id),
            None => {
                refuse(404, format!("no token with the number {token} is at {path}; there are: {}", numbers(several)))
            }
        },
        (several, None) => {
            let count = several.len();
            refuse(409, format!("{count} tokens are at {path}: say which with `token`, one of: {}", numbers(several)))
        }
    }
}

fn numbers(ids: &[FrameId]) -> String {
    let told: Vec<String> = ids.iter().take(TOKENS_TOLD).map(|id| id.0.to_string()).collect();
    let more = if ids.len() > TOKENS_TOLD { " …" } else { "" };
    format!("{}{more}", told.join(", "))
}

fn failed(plan: &Plan, wreck: &Wreck, target: &Target, at: Timestamp) -> Result<Place, Folded> {
    let path = wreck.node().and_then(|node| plan.get(node)).map(|node| &node.path);
    match path {
        Some(path) if *path == target.path => Ok(match &wreck.failed {
            Failed::Frame(id) => Place::Failed(*id, at),
            Failed::Entry(place, node, raw) => Place::Entering(*place, *node, raw.clone(), at),
        }),
        Some(path) => refuse(404, format!("the step that failed is {path}, not {}", target.path)),
        None => refuse(409, "what failed is not known"),
    }
}

/// Whether what is there can be done again.
fn may_rerun(run: &Run, place: &Place, with_input: bool) -> Result<(), Folded> {
    let (live, id) = match (place, &run.phase) {
        (Place::Run | Place::Entering(..), _) => return Ok(()),
        (Place::Waiting(_), _) => {
            return refuse(409, "the step is under way and has not failed; set its result, skip it, or cancel the run");
        }
        (Place::Delayed(id), Phase::Live(live)) => {
            let block = live.frames.get(id).is_some_and(|frame| matches!(frame.state, State::Try(_)));
            return match block && with_input {
                true => refuse(409, "a block that waits for its next attempt takes no other input"),
                false => Ok(()),
            };
        }
        (Place::Aside(id, _), Phase::Parked(live, _)) => (Some(live), id),
        (Place::Failed(id, _), Phase::Ended(..)) => (run.tally.steering.wreck.as_ref().map(|w| &w.live), id),
        (Place::Delayed(id) | Place::Aside(id, _) | Place::Failed(id, _), _) => (None, id),
    };
    match live.and_then(|live| live.frames.get(id)).map(|frame| &frame.state) {
        Some(State::Call(_)) => Ok(()),
        Some(_) | None => {
            refuse(409, "a block cannot be done again by itself; set its result, skip it, or fork the run from it")
        }
    }
}
