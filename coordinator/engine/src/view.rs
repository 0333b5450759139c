//! A run as clients see it.

use stepmill_definition::plan::{NodeId, NodeKind, Plan, SystemStep};
use stepmill_protocol::api::{ParentView, RunView, StepView, WaitsFor};
use stepmill_protocol::{AttemptNo, Problem, RunId, StepPath};

use crate::errand::child;
use crate::frame::{Frame, Ready, State, TryPhase};
use crate::run::{End, Live, Phase, Run};
use crate::values::Held;

impl Run {
    /// The run with its output or error and the steps it is at.
    #[must_use]
    pub fn view(&self, plan: &Plan) -> RunView {
        let mut view = self.summary();
        match &self.phase {
            Phase::Live(live) | Phase::Parked(live, _) => view.live = live.steps(plan, self.head.id),
            Phase::Ended(_, End::Completed(output)) => view.output = Some(output.value().as_ref().clone()),
            Phase::Ended(_, End::Faulted(_) | End::Cancelled(_)) => {}
        }
        view
    }

    /// The run without output and steps, as lists show it.
    #[must_use]
    pub fn summary(&self) -> RunView {
        let error = match &self.phase {
            Phase::Live(live) => match live.ending.as_deref() {
                Some(End::Faulted(problem) | End::Cancelled(problem)) => problem_of(problem),
                Some(End::Completed(_)) | None => None,
            },
            Phase::Ended(_, End::Completed(_)) => None,
            Phase::Parked(_, problem) => Some(problem.clone()),
            Phase::Ended(_, End::Faulted(problem) | End::Cancelled(problem)) => problem_of(problem),
        };
        RunView {
            run: self.head.id,
            namespace: self.head.namespace.clone(),
            workflow: self.head.workflow.clone(),
            version: self.head.version.clone(),
            digest: self.head.digest.clone(),
            state: self.state(),
            rev: self.tally.rev,
            submitted_at: self.head.submitted_at,
            ended_at: self.ended_at(),
            output: None,
            error,
            live: Vec::new(),
            steps_done: self.tally.steps_done,
            attempts_failed: self.tally.attempts_failed,
            usage: self.tally.usage,
            parent: self.head.parent.as_ref().map(|p| ParentView { run: p.id.run, path: p.path.clone() }),
        }
    }
}

fn problem_of(held: &Held) -> Option<Problem> {
    serde_json::from_value(held.value().as_ref().clone()).ok()
}

impl Live {
    fn steps(&self, plan: &Plan, run: RunId) -> Vec<StepView> {
        let waiting = self.frames.values().filter_map(|frame| self.step(plan, run, frame));
        let ready = self.ready.iter().filter_map(|ready| {
            let node = match ready {
                Ready::Enter(_, node, _) => *node,
                Ready::Fill(frame) => self.frames.get(frame)?.node,
            };
            Some(step(path(plan, node), WaitsFor::Turn))
        });
        waiting.chain(ready).collect()
    }

    fn step(&self, plan: &Plan, run: RunId, frame: &Frame) -> Option<StepView> {
        let path = path(plan, frame.node);
        let until = |timer| self.timers.get(&timer).map(|t| t.due);
        match &frame.state {
            State::List | State::Scope | State::Loop(_) | State::Gather(..) | State::Fork(_) => None,
            State::Listen(listen) => {
                let until = frame.timeout.and_then(until);
                listen.current.is_none().then(|| StepView { until, ..step(path, WaitsFor::Event) })
            }
            State::Wait(timer) => Some(StepView { until: until(*timer), ..step(path, WaitsFor::Time) }),
            State::Try(t) => match t.phase {
                TryPhase::Delay(timer) => {
                    let attempt = Some(AttemptNo(t.failed.saturating_add(1)));
                    Some(StepView { attempt, until: until(timer), ..step(path, WaitsFor::Retry) })
                }
                TryPhase::Body(_) | TryPhase::Catch(_) => None,
            },
            State::Call(call) => {
                let step = plan.get(frame.node).and_then(|node| match &node.kind {
                    NodeKind::Call(step) => Some(step),
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
                });
                let waits_for = if call.not_before.is_some() { WaitsFor::Retry } else { WaitsFor::Report };
                let attempt = Some(AttemptNo(call.attempt()));
                let until = call.not_before.or(frame.timeout.and_then(until));
                let starts = step.is_some_and(|s| matches!(s.system, Some(SystemStep::Workflow { .. })));
                let child = starts.then(|| child(plan, frame.node, &call.id(run))).flatten();
                let kind = step.map(|step| step.kind.clone());
                Some(StepView { attempt, kind, until, child, ..self::step(path, waits_for) })
            }
        }
    }
}

fn path(plan: &Plan, node: NodeId) -> StepPath {
    plan.get(node).map_or_else(|| StepPath("/".into()), |n| n.path.clone())
}

fn step(path: StepPath, waits_for: WaitsFor) -> StepView {
    StepView { path, waits_for, attempt: None, kind: None, until: None, child: None }
}
