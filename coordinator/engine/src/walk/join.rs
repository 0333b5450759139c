//! Branches side by side, of a `fork` and of a concurrent `for`: started one by one as far as there is room, gathered in
//! order until as many have ended as the task's rule wants.

use std::sync::Arc;

use serde_json::{Value, json};
use stepmill_definition::plan::{Join as Rule, NodeId, NodeKind};
use stepmill_protocol::limit;
use stepmill_protocol::problem::Standard;

use super::Walk;
use super::frames::Opening;
use crate::fault::Fault;
use crate::frame::{FrameId, Join, Place, Ready, State};
use crate::gathered::plain;
use crate::values::Held;

/// The error of a branch as the task's output tells it.
fn told(branch: u64, error: &Value) -> Value {
    json!({ "index": branch, "error": error })
}

impl Walk<'_> {
    pub(super) fn enter_fork(&mut self, opening: Opening<'_>, branches: usize) {
        let id = self.open(opening, State::Fork(Join::of(branches as u64)));
        self.fill(id);
    }

    fn join(&mut self, id: FrameId) -> Option<&mut Join> {
        match &mut self.live.frames.get_mut(&id)?.state {
            State::Gather(_, join) | State::Fork(join) => Some(join),
            State::List | State::Scope | State::Loop(_) | State::Try(_) | State::Wait(_) | State::Call(_) => None,
            State::Listen(_) => None,
        }
    }

    /// Starts the next branch if there is one and the frame may have one more under way, and comes back for the one after.
    /// With nothing left to start or to wait for, the task is done.
    pub(super) fn fill(&mut self, id: FrameId) {
        if let Err(fault) = self.start_branch(id) {
            self.prune(id);
            self.fail(id, fault);
        }
    }

    fn start_branch(&mut self, id: FrameId) -> Result<(), Fault> {
        let Some(frame) = self.live.frames.get(&id) else { return Ok(()) };
        let (Some(node), Some(input)) = (self.plan.get(frame.node), frame.input.clone()) else { return Ok(()) };
        let Some(join) = self.join(id) else { return Ok(()) };
        let (slot, live) = (join.next, join.live);
        if slot >= join.count {
            if live == 0 {
                self.leave_join(id)?;
            }
            return Ok(());
        }
        let body = match &node.kind {
            NodeKind::For { body, concurrency, .. } if live < concurrency.unwrap_or(1).max(1) => *body,
            NodeKind::Fork { branches, .. } => branches.get(slot as usize).copied().unwrap_or(NodeId(u32::MAX)),
            NodeKind::For { .. }
            | NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Try { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Call(_)
            | NodeKind::Listen(_) => return Ok(()),
        };
        if !self.goes_on(id, node, slot, &input)? {
            if let Some(join) = self.join(id) {
                join.count = slot;
            }
            self.live.ready.push_front(Ready::Fill(id));
            return Ok(());
        }
        if self.live.branches >= limit::TOKENS_MAX {
            let max = limit::TOKENS_MAX;
            return Err(Fault::limit(format!(
                "the run has {max} branches under way, more are not allowed (TOKENS_MAX); lower `metadata.concurrency`"
            )));
        }
        self.live.branches = self.live.branches.saturating_add(1);
        if let Some(join) = self.join(id) {
            join.next = join.next.saturating_add(1);
            join.live = join.live.saturating_add(1);
        }
        self.live.ready.push_front(Ready::Fill(id));
        self.enter_next(Place { parent: Some(id), slot }, body, input);
        Ok(())
    }

    /// The rule of the task that a frame is of.
    fn rule(&self, id: FrameId) -> Rule {
        match self.live.frames.get(&id).and_then(|f| self.plan.get(f.node)).map(|node| &node.kind) {
            Some(NodeKind::Fork { join, .. } | NodeKind::For { join, .. }) => *join,
            Some(
                NodeKind::Do { .. }
                | NodeKind::Set { .. }
                | NodeKind::Switch { .. }
                | NodeKind::Try { .. }
                | NodeKind::Raise { .. }
                | NodeKind::Wait { .. }
                | NodeKind::Scope { .. }
                | NodeKind::Call(_)
                | NodeKind::Listen(_),
            )
            | None => Rule::All,
        }
    }

    /// A branch is done.
    pub(super) fn gather(&mut self, id: FrameId, slot: u64, output: Held) {
        self.branch_ended();
        let rule = self.rule(id);
        let Some(join) = self.join(id) else { return };
        join.live = join.live.saturating_sub(1);
        if let Rule::First | Rule::Any = rule {
            self.prune(id);
            return self.leave(id, output);
        }
        join.bytes = join.bytes.saturating_add(output.bytes());
        self.keep_of_branch(id, |join| {
            join.outputs.insert(slot, output);
            if rule == Rule::Settled {
                join.errors.skip(slot);
            }
        });
        let enough = self.join(id).is_some_and(|join| matches!(rule, Rule::Count(n) if join.gave() >= u64::from(n)));
        let ended = match self.room_for_kept(id) {
            Ok(()) if enough => {
                self.prune(id);
                self.leave_join(id)
            }
            Ok(()) => {
                self.fill_again(id);
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = ended {
            self.prune(id);
            self.fail(id, fault);
        }
    }

    /// A branch failed; nothing is under way in it. Gives the error back when it is the task's own: its siblings are
    /// cancelled then.
    pub(super) fn branch_failed(&mut self, id: FrameId, slot: u64, fault: Fault) -> Option<Fault> {
        let rule = self.rule(id);
        match rule {
            Rule::All | Rule::First => {}
            Rule::Settled => {
                self.branch_ended();
                return self.keep_error(id, slot, &fault).err().map(|fault| {
                    self.prune(id);
                    self.at_frame(id, fault)
                });
            }
            Rule::Any | Rule::Count(_) => {
                let join = self.join(id)?;
                let may_succeed = join.count.saturating_sub(join.failed).saturating_sub(1);
                if rule.needs().is_none_or(|needed| may_succeed >= needed) {
                    join.failed = join.failed.saturating_add(1);
                    join.live = join.live.saturating_sub(1);
                    self.keep_of_branch(id, |join| join.outputs.skip(slot));
                    self.branch_ended();
                    self.fill_again(id);
                    return None;
                }
            }
        }
        self.prune(id);
        Some(fault)
    }

    fn keep_error(&mut self, id: FrameId, slot: u64, fault: &Fault) -> Result<(), Fault> {
        let (error, nothing) = (self.hold_problem(&fault.problem), self.values.keep(Arc::new(Value::Null)));
        let Some(join) = self.join(id) else { return Ok(()) };
        join.live = join.live.saturating_sub(1);
        join.failed = join.failed.saturating_add(1);
        join.bytes = join.bytes.saturating_add(error.bytes()).saturating_add(nothing.bytes());
        self.keep_of_branch(id, |join| {
            join.errors.insert(slot, error);
            join.outputs.insert(slot, nothing);
        });
        self.room_for_kept(id)?;
        self.fill_again(id);
        Ok(())
    }

    fn branch_ended(&mut self) {
        self.live.branches = self.live.branches.saturating_sub(1);
    }

    /// Whether what ended branches gave is still within the limits.
    fn room_for_kept(&mut self, id: FrameId) -> Result<(), Fault> {
        if self.join(id).is_some_and(|join| join.bytes > limit::VALUE_BYTES_MAX as u64) {
            let max = limit::VALUE_BYTES_MAX;
            let detail = format!("the branches' outputs are larger than {max} bytes together (VALUE_BYTES_MAX)");
            return Err(Fault::limit(detail));
        }
        self.room()
    }

    /// Starts what may be started now that a branch has ended.
    fn fill_again(&mut self, id: FrameId) {
        let Some(join) = self.join(id) else { return };
        let more = join.next < join.count || join.live == 0;
        // While the branches are still being started one by one, that goes on by itself.
        if more && !self.live.ready.iter().any(|r| matches!(r, Ready::Fill(frame) if *frame == id)) {
            self.live.ready.push_front(Ready::Fill(id));
        }
    }

    /// Keeps what a branch gave, or that it gave nothing.
    fn keep_of_branch(&mut self, id: FrameId, keep: impl FnOnce(&mut Join)) {
        let Some(State::Gather(_, join) | State::Fork(join)) = self.live.frames.get_mut(&id).map(|f| &mut f.state)
        else {
            return;
        };
        let before = join.gathered();
        keep(join);
        join.blocks.pack(&mut join.outputs, &mut self.values, plain);
        join.error_blocks.pack(&mut join.errors, &mut self.values, told);
        self.live.gathered = (self.live.gathered + join.gathered()).saturating_sub(before);
    }

    /// The branches are done, as far as they are wanted.
    fn leave_join(&mut self, id: FrameId) -> Result<(), Fault> {
        let rule = self.rule(id);
        let Some(join) = self.join(id) else { return Ok(()) };
        let (count, succeeded) = (join.count, join.gave());
        if let Some(needed) = rule.needs().filter(|needed| succeeded < *needed) {
            let detail = format!("the join needs {needed} branches that succeed; {succeeded} of {count} did");
            return Err(Fault::standard(Standard::Runtime, detail));
        }
        let outputs = Value::Array(join.blocks.all(&join.outputs, plain));
        let output = match rule {
            Rule::Settled => {
                json!({ "outputs": outputs, "errors": join.error_blocks.all(&join.errors, told) })
            }
            Rule::All | Rule::First | Rule::Any | Rule::Count(_) => outputs,
        };
        let output = self.values.make(Arc::new(output))?;
        self.leave(id, output);
        Ok(())
    }
}
