//! A token enters a node: condition, input, then what the node does.

use stepmill_definition::expression::budget;
use stepmill_definition::plan::{Call as CallNode, Case, Next, Node, NodeKind, SystemStep, Template};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Pass, Problem, Visit, limit};

use super::Walk;
use super::frames::Opening;
use crate::errand::{Errand, depth_below};
use crate::fault::Fault;
use crate::frame::{Call, Ends, Place, Ready, State, TryPhase};
use crate::observe::Passed;
use crate::scope::{Site, check};
use crate::values::Held;

impl<'p> Walk<'p> {
    /// Lets a token into a node.
    pub(crate) fn enter(&mut self, place: Place, node: &'p Node, raw: Held) {
        self.values.suspect(raw.id());
        if let Err(fault) = self.begin(place, node, raw) {
            let fault = fault.at(&node.path);
            self.tell_faulted(node.id, &fault);
            self.fail_at(place, fault);
        }
    }

    /// Puts a token before a node; it goes on next.
    pub(crate) fn enter_next(&mut self, place: Place, node: stepmill_definition::plan::NodeId, raw: Held) {
        self.live.ready.push_front(Ready::Enter(place, node, raw));
    }

    /// Everything that can fail comes before the first change, so that a fault leaves no half-entered task.
    fn begin(&mut self, place: Place, node: &'p Node, raw: Held) -> Result<(), Fault> {
        let entry = Site::entry(place, node, self.at, &raw);
        if let Some(condition) = &node.condition
            && !self.holds(&entry, condition, raw.value()).inspect_err(|_| self.tell_begun(node.id))?
        {
            self.passed(Passed::Skipped(node.id));
            // A skipped task's `then` is skipped with it.
            self.after(place, node, raw, Next::Continue);
            return Ok(());
        }
        self.passed(Passed::Entered(node.id));
        self.tell_begun(node.id);
        check(node.flow.input_schema.as_ref(), "task's input", raw.value())?;
        let input = match &node.flow.input_from {
            Some(from) => self.make(&entry, from, raw.value())?,
            None => raw.clone(),
        };
        let site = Site { input: Some(&input), ..entry };
        match &node.kind {
            NodeKind::Set { value } => {
                let output = self.make(&site, value, input.value())?;
                self.pass(&site, node, output, node.then);
            }
            NodeKind::Switch { cases } => {
                let next = budget::together(|| self.choose(&site, node, cases, &input))?.unwrap_or(node.then);
                self.pass(&site, node, input.clone(), next);
            }
            NodeKind::Raise { error } => return Err(self.raised(&site, error, &input)?),
            NodeKind::Wait { duration } => {
                let after = self.duration(&site, duration, input.value())?;
                if after.0 == 0 {
                    self.pass(&site, node, input.clone(), node.then);
                    return Ok(());
                }
                let opening = self.opening(&site, node, &raw, &input)?;
                let timer = self.arm(after, Ends::Wait(self.next_frame()));
                self.open(opening, State::Wait(timer));
            }
            NodeKind::Listen(listen) => self.enter_listen(&site, node, listen, &raw, &input)?,
            NodeKind::Call(call) => self.call(&site, node, call, &raw, &input)?,
            NodeKind::Do { children } => match children.first() {
                Some(first) => {
                    let opening = self.opening(&site, node, &raw, &input)?;
                    let id = self.open(opening, State::List);
                    self.enter_next(Place { parent: Some(id), slot: 0 }, *first, input.clone());
                }
                None => self.pass(&site, node, input.clone(), node.then),
            },
            NodeKind::Scope { with, body } => {
                let inner = self.make(&site, with, input.value())?;
                let opening = self.opening(&site, node, &raw, &input)?;
                let id = self.open(opening, State::Scope);
                self.enter_next(Place { parent: Some(id), slot: 0 }, *body, inner);
            }
            NodeKind::For { items, concurrency, .. } => {
                self.enter_for(&site, node, items, *concurrency, &raw, &input)?;
            }
            NodeKind::Fork { branches, .. } => {
                let opening = self.opening(&site, node, &raw, &input)?;
                self.enter_fork(opening, branches.len());
            }
            NodeKind::Try { catch, .. } => self.enter_try(&site, node, catch, &raw, &input)?,
        }
        Ok(())
    }

    /// A frame for this task, once its timeout is known and there is room.
    pub(crate) fn opening<'a>(
        &self,
        site: &Site<'_>,
        node: &'a Node,
        raw: &'a Held,
        input: &'a Held,
    ) -> Result<Opening<'a>, Fault> {
        self.room()?;
        self.room_to_undo(node.id)?;
        let timeout = self.timeout_of(site, node, input)?;
        Ok(Opening { place: site.place, node, raw, input, chain: self.chain(site.place, node), timeout })
    }

    fn choose(&self, site: &Site<'_>, node: &Node, cases: &[Case], input: &Held) -> Result<Option<Next>, Fault> {
        let mut chosen = None;
        for (number, case) in cases.iter().enumerate() {
            match &case.when {
                Some(when) if self.holds(site, when, input.value())? => {
                    chosen = Some((number, case.then));
                    break;
                }
                Some(_) => {}
                None => chosen = chosen.or(Some((number, case.then))),
            }
        }
        self.passed(Passed::Chose(node.id, chosen.map(|(number, _)| number)));
        Ok(chosen.map(|(_, then)| then))
    }

    /// The fault that a `raise` describes.
    fn raised(&self, site: &Site<'_>, error: &Template, input: &Held) -> Result<Fault, Fault> {
        let value = self.evaluate(site, error, input.value())?;
        let wrong = |detail: &str| Fault::standard(Standard::Configuration, format!("the error to raise {detail}"));
        let text = |field: &str| value.get(field).and_then(|v| v.as_str()).map(str::to_owned);
        let status = value.get("status").and_then(|v| v.as_u64().or_else(|| v.as_f64().map(|f| f as u64)));
        Ok(Fault::new(Problem {
            kind: text("type").ok_or_else(|| wrong("has no `type` that is a text"))?,
            status: status
                .and_then(|s| u16::try_from(s).ok())
                .ok_or_else(|| wrong("has no `status` that is a number from 0 to 65535"))?,
            title: text("title").unwrap_or_else(|| "Error".into()),
            detail: text("detail"),
            instance: text("instance"),
            extra: None,
        }))
    }

    /// Asks for a step to be run.
    fn call(
        &mut self,
        site: &Site<'_>,
        node: &'p Node,
        call: &'p CallNode,
        raw: &Held,
        input: &Held,
    ) -> Result<(), Fault> {
        if matches!(call.system, Some(SystemStep::Workflow { .. })) && depth_below(&self.head) > limit::RUN_DEPTH_MAX {
            let max = limit::RUN_DEPTH_MAX;
            return Err(Fault::limit(format!(
                "{max} runs stand above the one to be started, more are not allowed (RUN_DEPTH_MAX); a workflow that starts itself needs an end"
            )));
        }
        if let Some(SystemStep::Workflow { wait: false, detached: true, .. }) = call.system {
            return self.start_apart(site, node, call, input);
        }
        let opening = self.opening(site, node, raw, input)?;
        let counted = self.live.last.visit + 1;
        let mut visit = opening.chain.map_or(Visit(counted), |chain| chain.visit());
        // Chance could give two places the same number; a step that waits must not lose its own.
        while self.live.calls.contains_key(&visit) {
            visit.0 = visit.0.wrapping_add(1);
        }
        let with = match &call.with {
            Some(with) if call.emits => {
                let with = self.event_to_emit(site, node, with, input.value(), visit)?;
                self.values.make(with)?
            }
            Some(with) => self.make(site, with, input.value())?,
            None => input.clone(),
        };
        if opening.chain.is_none() {
            self.live.last.visit = counted;
        }
        let (pass, failed) = self.retrying(site.place);
        let state = Call {
            visit,
            pass,
            dispatch: 1,
            with,
            first_attempt: failed.saturating_add(1),
            redelivered: 0,
            not_before: None,
            pool: call.pool.clone(),
            priority: call.priority,
            started: false,
            ended: false,
        };
        let id = state.id(self.head.id);
        let frame = self.open(opening, State::Call(Box::new(state)));
        self.live.calls.insert(visit, frame);
        self.dispatch(id, call.pool.clone(), call.priority);
        Ok(())
    }

    /// Has a run started that this one has nothing more to do with; the token goes on at once.
    fn start_apart(&mut self, site: &Site<'_>, node: &'p Node, call: &'p CallNode, input: &Held) -> Result<(), Fault> {
        self.room()?;
        let with = match &call.with {
            Some(with) => self.make(site, with, input.value())?,
            None => input.clone(),
        };
        self.tally.steps_done = self.tally.steps_done.saturating_add(1);
        self.send(Errand::Start(node.id, with));
        self.pass(site, node, input.clone(), node.then);
        Ok(())
    }

    /// The pass of steps at a place, and how many attempts of the block have failed: those of the innermost `try` that
    /// retries and whose body the place is in.
    pub(crate) fn retrying(&self, place: Place) -> (Pass, u32) {
        let mut below = place;
        while let Some(frame) = below.parent.and_then(|id| self.live.frames.get(&id)) {
            if let State::Try(t) = &frame.state
                && matches!(t.phase, TryPhase::Body(_))
                && self.retries(frame.node)
            {
                return (t.pass, t.failed);
            }
            below = frame.place;
        }
        (Pass(0), 0)
    }
}
