//! `try`: its passes, and what becomes of an error from its body.

use stepmill_definition::plan::{Catch, Node, NodeId, NodeKind};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Millis, Pass};

use super::Walk;
use crate::fault::Fault;
use crate::frame::{Ends, FrameId, Place, State, Try, TryPhase};
use crate::observe::Passed;
use crate::retry::Decision;
use crate::scope::Site;
use crate::values::Held;
use crate::visit::Chain;

impl<'p> Walk<'p> {
    /// Whether the node is a `try` with a retry policy.
    pub(crate) fn retries(&self, node: NodeId) -> bool {
        self.plan.get(node).is_some_and(|n| matches!(&n.kind, NodeKind::Try { catch, .. } if catch.retry.is_some()))
    }

    pub(super) fn enter_try(
        &mut self,
        site: &Site<'_>,
        node: &'p Node,
        catch: &Catch,
        raw: &Held,
        input: &Held,
    ) -> Result<(), Fault> {
        let mut opening = self.opening(site, node, raw, input)?;
        if catch.retry.is_some() && opening.chain.is_none() {
            opening.chain = Some(Chain::root(self.count_visit(), node.id));
        }
        let (pass, _) = self.retrying(site.place);
        let state = Try { phase: TryPhase::Body(None), failed: 0, pass, pass_max: pass };
        let id = self.open(opening, State::Try(state));
        self.begin_pass(id);
        Ok(())
    }

    /// Lets a token into the body, for the first time or again.
    pub(crate) fn begin_pass(&mut self, id: FrameId) {
        let Some((node, body, catch)) = self.try_node(id) else { return };
        let Some(frame) = self.live.frames.get(&id) else { return };
        let input = frame.input.clone();
        let site = Site::inside(node, frame);
        let after = catch.retry.as_ref().and_then(|r| r.attempt_duration.as_ref()).map(|spec| {
            let on = input.as_ref().map(|h| h.value().clone()).unwrap_or_default();
            self.duration(&site, spec, &on)
        });
        match (after.transpose(), input) {
            (Err(fault), _) => self.fail(id, fault),
            (Ok(_), None) => {}
            (Ok(after), Some(input)) => {
                let timer = after.map(|after| self.arm(after, Ends::Attempt(id)));
                if let Some(t) = self.try_state(id) {
                    t.phase = TryPhase::Body(timer);
                }
                self.enter_next(Place { parent: Some(id), slot: 0 }, body, input);
            }
        }
    }

    /// An error reached a `try`. Gives it back when it goes on upward.
    pub(super) fn catch(&mut self, id: FrameId, fault: Fault) -> Option<Fault> {
        let timer = match self.try_state(id).map(|t| &t.phase) {
            Some(TryPhase::Body(timer)) => *timer,
            // What fails in a `catch` is not caught by the same `try`.
            Some(TryPhase::Delay(_) | TryPhase::Catch(_)) | None => return Some(fault),
        };
        let decision = match self.decide(id, &fault) {
            Ok(decision) => decision,
            Err(new) => return Some(self.at_frame(id, new)),
        };
        if let Decision::Retry { .. } | Decision::Handle | Decision::GiveUp = decision
            && let Some(timer) = timer
        {
            self.disarm(timer);
        }
        match decision {
            Decision::Up | Decision::GiveUp => return Some(fault),
            Decision::Retry { delay } => {
                self.passed_try(id, Passed::Retried);
                self.try_again(id, fault.attempts, delay);
            }
            Decision::Handle => {
                self.passed_try(id, Passed::Caught);
                self.handle(id, &fault);
            }
        }
        None
    }

    fn passed_try(&self, id: FrameId, what: impl FnOnce(NodeId) -> Passed) {
        if let Some(frame) = self.live.frames.get(&id).filter(|_| self.observer.is_some()) {
            self.passed(what(frame.node));
        }
    }

    /// An attempt at a block took longer than its retry policy allows.
    pub(crate) fn attempt_timed_out(&mut self, id: FrameId) {
        self.prune(id);
        if let Some(t) = self.try_state(id)
            && matches!(t.phase, TryPhase::Body(_))
        {
            t.phase = TryPhase::Body(None);
        }
        let detail = "the attempt took longer than `retry.limit.attempt.duration` allows";
        let fault = self.at_frame(id, Fault::standard(Standard::Timeout, detail));
        if let Some(fault) = self.catch(id, fault) {
            self.fail(id, fault);
        }
    }

    fn try_again(&mut self, id: FrameId, attempts: u32, delay: Millis) {
        let pass = self.raise_pass(id);
        let Some(t) = self.try_state(id) else { return };
        t.failed = t.failed.saturating_add(attempts);
        t.pass = pass;
        if delay.0 == 0 {
            t.phase = TryPhase::Body(None);
            self.begin_pass(id);
            return;
        }
        let timer = self.arm(delay, Ends::Delay(id));
        if let Some(t) = self.try_state(id) {
            t.phase = TryPhase::Delay(timer);
        }
    }

    /// A pass that no step inside of this block has seen; the blocks around it take note.
    fn raise_pass(&mut self, id: FrameId) -> Pass {
        let pass = Pass(self.try_state(id).map_or(0, |t| t.pass_max.0).saturating_add(1));
        let mut above = Some(id);
        while let Some(frame) = above.and_then(|id| self.live.frames.get_mut(&id)) {
            if let State::Try(t) = &mut frame.state {
                t.pass_max = t.pass_max.max(pass);
            }
            above = frame.place.parent;
        }
        pass
    }

    /// The error is caught for good.
    fn handle(&mut self, id: FrameId, fault: &Fault) {
        let error = self.hold_problem(&fault.problem);
        let Some((_, _, catch)) = self.try_node(id) else { return };
        let Some(frame) = self.live.frames.get_mut(&id) else { return };
        if let State::Try(t) = &mut frame.state {
            t.failed = t.failed.saturating_add(fault.attempts);
            t.phase = TryPhase::Catch(error);
        }
        let Some(input) = frame.input.clone() else { return };
        match catch.body {
            Some(body) => self.enter_next(Place { parent: Some(id), slot: 0 }, body, input),
            None => self.leave(id, input),
        }
    }

    pub(crate) fn try_node(&self, id: FrameId) -> Option<(&'p Node, NodeId, &'p Catch)> {
        let node = self.plan.get(self.live.frames.get(&id)?.node)?;
        match &node.kind {
            NodeKind::Try { body, catch } => Some((node, *body, catch)),
            NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Call(_)
            | NodeKind::Listen(_) => None,
        }
    }

    fn try_state(&mut self, id: FrameId) -> Option<&mut Try> {
        match &mut self.live.frames.get_mut(&id)?.state {
            State::Try(t) => Some(t),
            State::List
            | State::Scope
            | State::Loop(_)
            | State::Gather(..)
            | State::Fork(_)
            | State::Wait(_)
            | State::Call(_)
            | State::Listen(_) => None,
        }
    }
}
