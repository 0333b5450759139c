//! A run has ended that a step of this one has started and waits for: its end is the step's.

use std::sync::Arc;

use stepmill_definition::plan::SystemStep;
use stepmill_protocol::api::Folded;
use stepmill_protocol::{ChildEnd, CommandId, RunId, Usage};

use super::acted::{settle_end, step, waiting};
use super::report::{give, take_back};
use crate::advance::ignored;
use crate::errand::child as child_of;
use crate::fault::Fault;
use crate::walk::Walk;

/// The end of a child of a run that is on its way. It may come before the word that the child was started.
pub(crate) fn fold(walk: &mut Walk<'_>, id: CommandId, child: RunId, end: &ChildEnd, usage: Usage) -> Folded {
    let Some((frame, _)) = waiting(walk, id) else {
        return ignored(format!("no step waits for run {child}: it is finished, or its branch was cancelled"));
    };
    let give_output = match step(walk, frame) {
        Some(SystemStep::Workflow { give_output, .. }) => *give_output,
        Some(SystemStep::Emit) | None => return ignored(format!("the step of dispatch {id} waits for no run")),
    };
    let node = walk.live.frames.get(&frame).map(|f| f.node);
    if node.and_then(|node| child_of(walk.plan, node, &id)) != Some(child) {
        return ignored(format!("dispatch {id} has not started run {child}"));
    }
    settle_end(walk, frame);
    walk.tally.usage.add(usage);
    match end {
        ChildEnd::Completed { output } if give_output => give(walk, frame, Arc::new(output.clone())),
        ChildEnd::Completed { .. } => give(walk, frame, Arc::default()),
        ChildEnd::Faulted { problem } | ChildEnd::Cancelled { problem } => {
            // The place in the child's definition says nothing here.
            let mut problem = problem.clone();
            problem.instance = None;
            take_back(walk, frame, Fault::new(problem));
        }
    }
    Folded::Applied
}
