//! A run that ends with an error keeps what it was in the middle of, so that it can go on when an operator says how. What was
//! open is asked for anew then, and its time goes on from where it stood.

use stepmill_definition::plan::{Join as Rule, NodeKind, SystemStep};
use stepmill_protocol::{Timestamp, Visit};

use super::Walk;
use crate::command::Command;
use crate::errand::{Errand, errand_id};
use crate::fault::Fault;
use crate::frame::{Call, Ends, FrameId, Place, State, TryPhase};
use crate::retry::Decision;
use crate::run::Live;
use crate::scope::Site;
use crate::steering::{Failed, Wreck};
use crate::values::Held;

impl Walk<'_> {
    /// Keeps the run as it is where an error from below `place` will end it. To be called before anything is closed on the way up.
    pub(super) fn keep_wreck(&mut self, place: Place, fault: &Fault, failed: impl FnOnce(&mut Live) -> Failed) {
        if self.wreck.is_some() || self.live.ending.is_some() || !self.live.undo.is_empty() {
            return;
        }
        if self.will_end(place, fault) {
            let mut live = self.live.clone();
            let failed = failed(&mut live);
            if live.forget_timers() {
                self.wreck = Some(Box::new(Wreck { live, failed }));
            }
        }
    }

    /// Whether nothing on the way up takes an error.
    fn will_end(&mut self, place: Place, fault: &Fault) -> bool {
        self.decided = None;
        let mut other: Option<Fault> = None;
        let mut below = place;
        while let Some((id, frame)) = below.parent.and_then(|id| Some((id, self.live.frames.get(&id)?))) {
            match &frame.state {
                State::Try(t) if matches!(t.phase, TryPhase::Body(_)) => {
                    match self.decide(id, other.as_ref().unwrap_or(fault)) {
                        Ok(Decision::Up | Decision::GiveUp) => {}
                        Ok(decision @ (Decision::Retry { .. } | Decision::Handle)) => {
                            self.decided = Some((id, decision));
                            return false;
                        }
                        Err(new) => other = Some(new),
                    }
                }
                State::Gather(_, join) | State::Fork(join) => match self.rule(id) {
                    Rule::All | Rule::First => {}
                    Rule::Settled => return false,
                    rule @ (Rule::Any | Rule::Count(_)) => {
                        let may_succeed = join.count.saturating_sub(join.failed).saturating_sub(1);
                        if rule.needs().is_none_or(|needed| may_succeed >= needed) {
                            return false;
                        }
                    }
                },
                State::Try(_) | State::List | State::Scope | State::Loop(_) | State::Wait(_) | State::Call(_) => {}
                State::Listen(_) => {}
            }
            let Some(frame) = self.live.frames.get(&id) else { break };
            below = frame.place;
        }
        true
    }

    /// Everything that waited when the run stopped at `since` is asked for anew, but the step of `spare`. What a timer had left it
    /// has again. Runs that steps wait for are started anew; the former ones are ended with `recall`, if that was not done before.
    pub(crate) fn revive(&mut self, since: Timestamp, spare: Option<FrameId>, recall: bool) {
        let stood = self.at.since(since);
        let paused = self.live.paused.is_some();
        for (timer, armed) in &mut self.live.timers {
            if !(paused && armed.ends.is_limit()) {
                armed.due = armed.due.plus(stood);
                self.commands.push(Command::Arm { timer: *timer, due: armed.due });
            }
        }
        let waiting: Vec<FrameId> =
            self.live.frames.iter().filter(|(_, f)| matches!(f.state, State::Call(_))).map(|(id, _)| *id).collect();
        for id in waiting.into_iter().filter(|id| Some(*id) != spare) {
            self.call_anew(id, recall);
        }
        self.live.turn = None;
        self.live.index_calls();
    }

    fn call_anew(&mut self, id: FrameId, recall: bool) {
        let run = self.head.id;
        let Some((node, former)) = self.live.frames.get(&id).and_then(|frame| match &frame.state {
            State::Call(call) => Some((frame.node, call.clone())),
            State::List
            | State::Scope
            | State::Loop(_)
            | State::Gather(..)
            | State::Fork(_)
            | State::Try(_)
            | State::Wait(_)
            | State::Listen(_) => None,
        }) else {
            return;
        };
        let awaits_run = matches!(
            self.plan.get(node).map(|n| &n.kind),
            Some(NodeKind::Call(step)) if matches!(step.system, Some(SystemStep::Workflow { wait: true, .. }))
        );
        let anew = if awaits_run {
            if recall {
                self.recall(node, &former);
            }
            Call { visit: self.count_visit(), dispatch: 1, not_before: None, started: false, ended: false, ..*former }
        } else {
            Call { dispatch: former.dispatch.saturating_add(1), not_before: None, ..*former }
        };
        let (asked, pool, priority) = (anew.id(run), anew.pool.clone(), anew.priority);
        if let Some(frame) = self.live.frames.get_mut(&id) {
            frame.state = State::Call(Box::new(anew));
        }
        self.dispatch(asked, pool, priority);
    }

    /// A step that failed is asked for again, as a new visit with its time anew.
    pub(crate) fn visit_again(&mut self, id: FrameId, input: Option<Held>) {
        let visit: Visit = self.count_visit();
        let plan = self.plan;
        let Some(frame) = self.live.frames.get(&id) else { return };
        let (State::Call(former), Some(node)) = (&frame.state, plan.get(frame.node)) else { return };
        let call = Call {
            visit,
            dispatch: 1,
            with: input.unwrap_or_else(|| former.with.clone()),
            first_attempt: 1,
            redelivered: 0,
            not_before: None,
            started: false,
            ended: false,
            ..Call::clone(former)
        };
        let (before, site) = (frame.timeout, Site::inside(node, frame));
        let on = frame.input.as_ref().unwrap_or(&call.with).value().clone();
        // The input may be gone that its limit depends on; then it has none.
        let limit = node.timeout.as_ref().and_then(|spec| self.duration(&site, spec, &on).ok());
        if let Some(timer) = before {
            self.disarm(timer);
        }
        let timeout = limit.map(|after| self.arm(after, Ends::Task(id)));
        let (asked, pool, priority) = (call.id(self.head.id), call.pool.clone(), call.priority);
        if let Some(frame) = self.live.frames.get_mut(&id) {
            frame.timeout = timeout;
            frame.state = State::Call(Box::new(call));
        }
        self.live.index_calls();
        self.tell_retried(node.id);
        self.dispatch(asked, pool, priority);
    }

    /// A run that has ended goes on: nobody is to be told of its end any more.
    pub(crate) fn tell_nobody(&mut self) {
        let tells: Vec<Visit> =
            self.errands.iter().filter(|(_, e)| matches!(e, Errand::Tell)).map(|(visit, _)| *visit).collect();
        for visit in tells {
            self.errands.remove(&visit);
            self.withdraw(errand_id(self.head.id, visit));
        }
    }
}
