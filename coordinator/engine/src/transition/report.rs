//! A worker reports on an attempt. What counts is the visit and the pass: a success that matches a waiting step is
//! applied whatever its dispatch, a failure only when its dispatch is the one that is open.

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::plan::{Node, NodeKind};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Millis, Problem, Report, ReportOutcome, limit};

use crate::advance::ignored;
use crate::fault::Fault;
use crate::frame::{Call, FrameId, State};
use crate::observe::Passed;
use crate::retry::Decision;
use crate::run::{Head, Live};
use crate::walk::Walk;

/// A report on a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, report: &Report) -> Folded {
    if let Some(refused) = refuse_stranger(&walk.head, report) {
        return refused;
    }
    let Some((id, call)) = waiting(&walk.live, report) else {
        return ignored(format!(
            "no step waits for visit {}: it is finished, or its branch was cancelled",
            report.id.visit
        ));
    };
    if call.pass != report.id.pass {
        return ignored(format!("the report is on pass {}, the step is in pass {}", report.id.pass, call.pass));
    }
    let expected = call.attempt();
    let stale_dispatch = call.dispatch != report.id.dispatch;
    match &report.outcome {
        ReportOutcome::Succeeded { output } => {
            count(walk, report);
            give(walk, id, Arc::new(output.clone()));
            Folded::Applied
        }
        ReportOutcome::Failed { .. } if stale_dispatch => {
            ignored("the failed dispatch is not the open one; its task was sent again")
        }
        ReportOutcome::Failed { .. } if report.attempt.0 < expected => {
            ignored(format!("attempt {} was reported before; attempt {expected} is awaited", report.attempt))
        }
        ReportOutcome::Failed { problem, retryable, retry_after, redeliver_after } => {
            let fault = Fault {
                problem: problem.clone(),
                terminal: !retryable,
                retry_after: retry_after.unwrap_or_default().min(limit::DURATION_MAX),
                attempts: call.redelivered.saturating_add(1),
            };
            failed(walk, id, report, fault, *redeliver_after)
        }
    }
}

/// A report whose token is not that of its dispatch; whoever sent it did not get the task.
pub(crate) fn refuse_stranger(head: &Head, report: &Report) -> Option<Folded> {
    if report.id.run == head.id && head.secret.knows(&report.id, &report.token) {
        return None;
    }
    let detail = format!("the report on {} does not carry its task's token", report.id);
    Some(Folded::Refused(Problem::own("wrong-token", 403, "Wrong token", detail)))
}

fn waiting<'a>(live: &'a Live, report: &Report) -> Option<(FrameId, &'a Call)> {
    let id = *live.calls.get(&report.id.visit)?;
    match &live.frames.get(&id)?.state {
        State::Call(call) => Some((id, call)),
        State::List
        | State::Scope
        | State::Loop(_)
        | State::Gather(..)
        | State::Fork(_)
        | State::Try(_)
        | State::Wait(_)
        | State::Listen(_) => None,
    }
}

fn count(walk: &mut Walk<'_>, report: &Report) {
    if let Some(usage) = report.usage {
        walk.tally.usage.add(usage);
    }
}

/// A step is done: this is its output.
pub(super) fn give(walk: &mut Walk<'_>, id: FrameId, output: Arc<Value>) {
    walk.tally.steps_done = walk.tally.steps_done.saturating_add(1);
    let output = walk.emitted(id).unwrap_or(output);
    match walk.values.make(output) {
        Ok(output) => walk.leave(id, output),
        Err(e) => walk.fail(id, e.into()),
    }
}

/// An attempt at a step failed, and its next one is up to the blocks around it.
pub(super) fn take_back(walk: &mut Walk<'_>, id: FrameId, fault: Fault) {
    walk.tally.attempts_failed = walk.tally.attempts_failed.saturating_add(1);
    let fault = walk.at_frame(id, fault);
    walk.fail(id, fault);
}

fn failed(walk: &mut Walk<'_>, id: FrameId, report: &Report, fault: Fault, redeliver_after: Option<Millis>) -> Folded {
    count(walk, report);
    walk.tally.attempts_failed = walk.tally.attempts_failed.saturating_add(1);
    let fault = walk.at_frame(id, fault);
    match redeliver_after {
        Some(delay) if may_redeliver(walk, id, &fault) => {
            let not_before = walk.at.plus(delay.min(limit::DURATION_MAX));
            if let Some(node) = block(walk, id).and_then(|block| walk.live.frames.get(&block)).map(|f| f.node) {
                walk.passed(Passed::Retried(node));
            }
            if let Some(State::Call(call)) = walk.live.frames.get_mut(&id).map(|f| &mut f.state) {
                call.redelivered = call.redelivered.saturating_add(1);
                call.not_before = Some(not_before);
            }
        }
        Some(_) | None => walk.fail(id, fault),
    }
    Folded::Applied
}

/// Whether the broker's redelivery of the task is what the block around the step would decide too. The worker knows the
/// policy, but not how many attempts earlier passes took, when the first began, or which errors are caught.
fn may_redeliver(walk: &Walk<'_>, id: FrameId, fault: &Fault) -> bool {
    let frames = &walk.live.frames;
    let node = |id: FrameId| -> Option<&Node> { walk.plan.get(frames.get(&id)?.node) };
    let by_broker = |n: &Node| matches!(&n.kind, NodeKind::Call(call) if call.broker_retry.is_some());
    if !node(id).is_some_and(by_broker) {
        return false;
    }
    block(walk, id).is_some_and(|block| matches!(walk.decide(block, fault), Ok(Decision::Retry { .. })))
}

/// What contains the list that a step lies in.
fn block(walk: &Walk<'_>, step: FrameId) -> Option<FrameId> {
    let frames = &walk.live.frames;
    frames.get(&frames.get(&step)?.place.parent?)?.place.parent
}
