//! A task is done: its output flows, its frame goes, the token moves on.

use stepmill_definition::plan::{Next, Node, NodeId, NodeKind, Part};
use stepmill_protocol::{Problem, problem::Standard};

use super::Walk;
use crate::fault::Fault;
use crate::frame::{FrameId, Place, State, TryPhase};
use crate::run::End;
use crate::scope::{Site, check, workflow_path};
use crate::values::Held;

impl<'p> Walk<'p> {
    /// A task that has a frame is done.
    pub(crate) fn leave(&mut self, id: FrameId, output: Held) {
        let Some(frame) = self.close(id) else { return };
        let Some(node) = self.plan.get(frame.node) else { return };
        self.keep_to_undo(&frame, &output);
        let site = Site::inside(node, &frame);
        if let State::Listen(_) = &frame.state {
            self.tell_heard();
        }
        let caught = matches!(&frame.state, State::Try(t) if matches!(t.phase, TryPhase::Catch(_)));
        let next = match &node.kind {
            NodeKind::Do { .. } if frame.then.is_some() => frame.then.unwrap_or(node.then),
            NodeKind::Try { catch, .. } if caught => catch.then.unwrap_or(node.then),
            NodeKind::Try { .. }
            | NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Call(_)
            | NodeKind::Listen(_) => node.then,
        };
        self.pass(&site, node, output, next);
    }

    /// A task is done; its output goes through `output` and `export`, the token to `next`.
    pub(crate) fn pass(&mut self, site: &Site<'_>, node: &'p Node, raw_output: Held, next: Next) {
        match self.flow_out(site, node, raw_output) {
            Ok(output) => {
                self.tell_completed(node.id);
                self.after(site.place, node, output, next);
            }
            Err(fault) => {
                let fault = fault.at(&node.path);
                self.tell_faulted(node.id, &fault);
                self.fail_at(site.place, fault);
            }
        }
    }

    fn flow_out(&mut self, site: &Site<'_>, node: &Node, raw_output: Held) -> Result<Held, Fault> {
        let flow = &node.flow;
        let site = Site { raw_output: Some(&raw_output), ..*site };
        let output = match &flow.output_as {
            Some(template) => self.make(&site, template, raw_output.value())?,
            None => raw_output.clone(),
        };
        check(flow.output_schema.as_ref(), "task's output", output.value())?;
        if let Some(template) = &flow.export_as {
            let site = Site { output: Some(&output), ..site };
            let context = self.make(&site, template, output.value())?;
            check(flow.export_schema.as_ref(), "exported context", context.value())?;
            if let Some(before) = &mut self.live.context {
                self.values.suspect(before.id());
                *before = context;
            }
        }
        Ok(output)
    }

    /// Where a token goes after a task at `place`.
    pub(crate) fn after(&mut self, place: Place, node: &'p Node, output: Held, next: Next) {
        // Where an extended task leads is where the list around it leads, once what comes after the task is done.
        let next = match place.parent.and_then(|id| self.live.frames.get_mut(&id)) {
            Some(around) if node.part == Part::Extended => {
                around.then = Some(next);
                Next::Continue
            }
            Some(_) | None => next,
        };
        let parent = match (next, place.parent) {
            (Next::End, _) | (_, None) => {
                self.tell_ended_around(place);
                return self.complete(output);
            }
            (Next::Continue | Next::To(_) | Next::Exit, Some(parent)) => parent,
            (Next::Leave, Some(parent)) => match self.close(parent).map(|block| block.place.parent) {
                Some(Some(around)) => return self.leave(around, output),
                Some(None) | None => return self.complete(output),
            },
        };
        let above = self.live.frames.get(&parent).and_then(|f| self.plan.get(f.node));
        match above.map(|n| &n.kind) {
            Some(NodeKind::Do { children }) => match following(children, node.id, next) {
                Some((target, backward)) => {
                    let slot = place.slot.saturating_add(u64::from(backward));
                    self.enter_next(Place { parent: Some(parent), slot }, target, output);
                }
                None => self.leave(parent, output),
            },
            Some(NodeKind::For { concurrency: None, .. }) => self.iterate(parent, place.slot.saturating_add(1), output),
            Some(NodeKind::For { concurrency: Some(_), .. } | NodeKind::Fork { .. }) => {
                self.gather(parent, place.slot, output);
            }
            Some(NodeKind::Try { .. } | NodeKind::Scope { .. }) => self.leave(parent, output),
            Some(NodeKind::Listen(_)) => self.iterated(parent, place.slot, output),
            Some(
                NodeKind::Set { .. }
                | NodeKind::Switch { .. }
                | NodeKind::Raise { .. }
                | NodeKind::Wait { .. }
                | NodeKind::Call(_),
            )
            | None => {
                let detail = format!("task {} lies in a task that cannot contain one", node.path);
                self.fault_run(Problem::standard(Standard::Runtime, detail));
            }
        }
    }

    /// The last task is done: the workflow's own output.
    fn complete(&mut self, raw_output: Held) {
        if self.live.ending.is_some() {
            return self.undone();
        }
        match self.workflow_output(raw_output) {
            Ok(output) => self.finish(End::Completed(output)),
            Err(fault) => self.fault_run(fault.at(&workflow_path()).problem),
        }
    }

    fn workflow_output(&mut self, raw_output: Held) -> Result<Held, Fault> {
        let flow = &self.plan.flow;
        let output = match &flow.output_as {
            Some(template) => self.make(&Site::workflow(self.head.submitted_at), template, raw_output.value())?,
            None => raw_output,
        };
        check(flow.output_schema.as_ref(), "workflow's output", output.value())?;
        Ok(output)
    }
}

/// The task of a list that comes after `node` by `next`, and whether the token jumps backward to it. None: the list ends.
fn following(children: &[NodeId], node: NodeId, next: Next) -> Option<(NodeId, bool)> {
    let position = |node| children.iter().position(|c| *c == node);
    let here = position(node)?;
    match next {
        Next::Continue => children.get(here + 1).map(|n| (*n, false)),
        Next::To(target) => position(target).map(|there| (target, there <= here)),
        Next::Exit | Next::Leave | Next::End => None,
    }
}
