//! What the shell and workers may ask a run: the body of a task, whether to run it again, a value, what is open.

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::plan::{NodeKind, Plan};
use stepmill_protocol::{
    AttemptNo, CommandId, MayRun, PartitionNo, Payload, PoolName, Priority, Problem, Task, TaskToken, TimerId,
    Timestamp, ValueId, limit,
};

use crate::frame::{Call, Ends, Frame, State, TryPhase};
use crate::run::{End, Live, Phase, Run};

impl Run {
    /// The body of an open dispatch; none when it is not open. A pure function of run and plan.
    #[must_use]
    pub fn task(&self, plan: &Plan, id: CommandId, partition: PartitionNo) -> Option<Task> {
        let (live, frame, call) = self.waiting(&id)?;
        if call.id(self.head.id) != id {
            return None;
        }
        let node = plan.get(frame.node)?;
        let NodeKind::Call(step) = &node.kind else { return None };
        if step.system.is_some() {
            return None;
        }
        let input = if call.with.bytes() <= limit::INLINE_BYTES_MAX as u64 {
            Payload::Inline(call.with.value().as_ref().clone())
        } else {
            Payload::Ref { id: call.with.id(), bytes: call.with.bytes() }
        };
        Some(Task {
            id,
            namespace: self.head.namespace.clone(),
            workflow: self.head.workflow.clone(),
            partition,
            path: node.path.clone(),
            attempt: AttemptNo(call.attempt()),
            token: self.head.secret.token(&id),
            kind: step.kind.clone(),
            pool: call.pool.clone(),
            priority: call.priority,
            input,
            deadline: live.deadline(frame),
            retry: step.broker_retry.clone(),
            secrets: (!plan.secrets.is_empty()).then(|| self.head.secret.scope(&plan.secrets)),
        })
    }

    /// Whether a task that came again should be run.
    #[must_use]
    pub fn may_run(&self, id: &CommandId, token: &TaskToken, now: Timestamp) -> MayRun {
        if id.run != self.head.id || !self.head.secret.knows(id, token) {
            return MayRun::Stale;
        }
        let gone = match &self.phase {
            Phase::Live(_) | Phase::Ended(_, End::Completed(_)) => MayRun::Done,
            Phase::Parked(..) | Phase::Ended(_, End::Faulted(_) | End::Cancelled(_)) => return MayRun::Stale,
        };
        let Some((_, _, call)) = self.waiting(id) else { return gone };
        if call.id(self.head.id) != *id {
            return MayRun::Stale;
        }
        match call.not_before {
            Some(not_before) if now < not_before => MayRun::Wait { delay: not_before.since(now) },
            Some(_) | None => MayRun::Run { attempt: AttemptNo(call.attempt()) },
        }
    }

    /// A value that a task refers to.
    ///
    /// # Errors
    /// A problem when the task is not open, its token is another, or it does not refer to this value.
    pub fn value_for(&self, id: &CommandId, token: &TaskToken, value: ValueId) -> Result<Arc<Value>, Problem> {
        if id.run != self.head.id || !self.head.secret.knows(id, token) {
            let detail = format!("the question about {id} does not carry its task's token");
            return Err(Problem::own("wrong-token", 403, "Wrong token", detail));
        }
        match self.waiting(id) {
            Some((_, _, call)) if call.pass == id.pass && call.with.id() == value => Ok(call.with.value().clone()),
            Some(_) | None => {
                let detail = format!("task {id} is settled or does not refer to value {value}; ask whether it may run");
                Err(Problem::own("not-found", 404, "Not found", detail))
            }
        }
    }

    /// Every dispatch that is open: to be published or carried out, or published and not reported on.
    #[must_use]
    pub fn open_dispatches(&self) -> Vec<(CommandId, PoolName, Priority)> {
        let mut open = self.open_steps();
        open.extend(self.open_errands().map(|id| (id, PoolName::system(), Priority::default())));
        open
    }

    /// Those of steps that wait.
    pub(crate) fn open_steps(&self) -> Vec<(CommandId, PoolName, Priority)> {
        let Phase::Live(live) = &self.phase else { return Vec::new() };
        let calls = live.calls.values().filter_map(|id| live.frames.get(id)).filter_map(call_of);
        calls
            .filter(|call| !call.started)
            .map(|call| (call.id(self.head.id), call.pool.clone(), call.priority))
            .collect()
    }

    /// Every timer that is armed.
    #[must_use]
    pub fn open_timers(&self) -> Vec<(TimerId, Timestamp)> {
        match &self.phase {
            Phase::Live(live) => {
                let armed = live.timers.iter().filter(|(_, timer)| !live.holds(timer));
                armed.map(|(id, timer)| (*id, timer.due)).collect()
            }
            Phase::Parked(..) | Phase::Ended(..) => Vec::new(),
        }
    }

    /// The number of the turn that the run has asked for.
    #[must_use]
    pub fn pending_yield(&self) -> Option<u64> {
        match &self.phase {
            Phase::Live(live) => live.turn,
            Phase::Parked(..) | Phase::Ended(..) => None,
        }
    }

    /// The step that waits for a report on this visit and pass.
    fn waiting(&self, id: &CommandId) -> Option<(&Live, &Frame, &Call)> {
        let Phase::Live(live) = &self.phase else { return None };
        let frame = live.frames.get(live.calls.get(&id.visit)?)?;
        Some((live, frame, call_of(frame)?))
    }
}

pub(crate) fn call_of(frame: &Frame) -> Option<&Call> {
    match &frame.state {
        State::Call(call) => Some(call),
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

impl Live {
    /// The earliest of the timeouts that a task lies in.
    fn deadline(&self, frame: &Frame) -> Option<Timestamp> {
        let due = |id: TimerId| self.timers.get(&id).map(|timer| timer.due);
        let mut earliest = self.timers.values().filter(|t| t.ends == Ends::Run).map(|t| t.due).min();
        let mut here = Some(frame);
        while let Some(frame) = here {
            let attempt = match &frame.state {
                State::Try(t) => match t.phase {
                    TryPhase::Body(timer) => timer,
                    TryPhase::Delay(_) | TryPhase::Catch(_) => None,
                },
                State::List
                | State::Scope
                | State::Loop(_)
                | State::Gather(..)
                | State::Fork(_)
                | State::Wait(_)
                | State::Call(_)
                | State::Listen(_) => None,
            };
            let own = frame.timeout.into_iter().chain(attempt).filter_map(due).min();
            earliest = match (earliest, own) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            here = frame.place.parent.and_then(|parent| self.frames.get(&parent));
        }
        earliest
    }
}
