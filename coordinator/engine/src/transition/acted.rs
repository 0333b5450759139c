//! The owner has carried out what a step asked of the system, or has given it up.

use std::sync::Arc;

use stepmill_definition::plan::{NodeKind, SystemStep};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Acted, CommandId, Millis};

use super::report::{give, take_back};
use crate::advance::ignored;
use crate::fault::Fault;
use crate::frame::{Call, FrameId, State};
use crate::walk::Walk;

/// A step's dispatch of a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, id: CommandId, outcome: &Acted) -> Folded {
    let Some((frame, call)) = waiting(walk, id).filter(|(_, call)| !call.started) else {
        return ignored(format!("dispatch {id} is settled"));
    };
    let input = call.with.clone();
    match outcome {
        Acted::Done { output } => give(walk, frame, Arc::new(output.clone())),
        Acted::Started { .. } => match step(walk, frame) {
            Some(SystemStep::Workflow { wait: true, .. }) => {
                if let Some(State::Call(call)) = walk.live.frames.get_mut(&frame).map(|f| &mut f.state) {
                    call.started = true;
                }
                walk.withdraw(id);
            }
            // Nobody waits for its end: the step's output is its input.
            Some(SystemStep::Workflow { wait: false, .. } | SystemStep::Emit) | None => {
                let input = walk.live.frames.get(&frame).and_then(|f| f.input.clone()).unwrap_or(input);
                walk.tally.steps_done = walk.tally.steps_done.saturating_add(1);
                walk.leave(frame, input);
            }
        },
        Acted::Failed { problem, retryable } => {
            settle_end(walk, frame);
            let fault = Fault { terminal: !retryable, retry_after: Millis(0), ..Fault::new(problem.clone()) };
            take_back(walk, frame, fault);
        }
    }
    Folded::Applied
}

/// There is no run of this step's (any more) that would have to be ended with it.
pub(super) fn settle_end(walk: &mut Walk<'_>, frame: FrameId) {
    if let Some(State::Call(call)) = walk.live.frames.get_mut(&frame).map(|f| &mut f.state) {
        call.ended = true;
    }
}

/// The step that waits under this very dispatch.
pub(super) fn waiting<'w>(walk: &'w Walk<'_>, id: CommandId) -> Option<(FrameId, &'w Call)> {
    let frame = *walk.live.calls.get(&id.visit)?;
    match &walk.live.frames.get(&frame)?.state {
        State::Call(call) if call.id(walk.head.id) == id => Some((frame, call)),
        State::Call(_)
        | State::List
        | State::Scope
        | State::Loop(_)
        | State::Gather(..)
        | State::Fork(_)
        | State::Try(_)
        | State::Wait(_)
        | State::Listen(_) => None,
    }
}

/// What the system does for a frame's step.
pub(super) fn step<'p>(walk: &Walk<'p>, frame: FrameId) -> Option<&'p SystemStep> {
    let node = walk.plan.get(walk.live.frames.get(&frame)?.node)?;
    match &node.kind {
        NodeKind::Call(call) => call.system.as_ref(),
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Try { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Listen(_)
        | NodeKind::Scope { .. } => None,
    }
}
