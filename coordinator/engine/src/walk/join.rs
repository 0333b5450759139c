//! Branches side by side, of a `fork` and of a concurrent `for`: started one by one as far as there is room, gathered in
//! order.

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::plan::{NodeId, NodeKind};
use stepmill_protocol::limit;

use super::Walk;
use super::frames::Opening;
use crate::fault::Fault;
use crate::frame::{FrameId, Join, Place, Ready, State};
use crate::values::Held;

impl Walk<'_> {
    pub(super) fn enter_fork(&mut self, opening: Opening<'_>, branches: usize) {
        let id = self.open(opening, State::Fork(Join::of(branches as u64)));
        self.fill(id);
    }

    fn join(&mut self, id: FrameId) -> Option<&mut Join> {
        match &mut self.live.frames.get_mut(&id)?.state {
            State::Gather(_, join) | State::Fork(join) => Some(join),
            State::List | State::Scope | State::Loop(_) | State::Try(_) | State::Wait(_) | State::Call(_) => None,
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
            | NodeKind::Call(_) => return Ok(()),
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

    /// A branch is done.
    pub(super) fn gather(&mut self, id: FrameId, slot: u64, output: Held) {
        self.live.branches = self.live.branches.saturating_sub(1);
        let node = self.live.frames.get(&id).and_then(|f| self.plan.get(f.node));
        let Some(join) = self.join(id) else { return };
        join.live = join.live.saturating_sub(1);
        if let Some(NodeKind::Fork { compete: true, .. }) = node.map(|n| &n.kind) {
            self.prune(id);
            return self.leave(id, output);
        }
        join.bytes = join.bytes.saturating_add(output.bytes());
        let (bytes, more) = (join.bytes, join.next < join.count || join.live == 0);
        self.keep_output(id, slot, output);
        let room = if bytes > limit::VALUE_BYTES_MAX as u64 {
            let max = limit::VALUE_BYTES_MAX;
            Err(Fault::limit(format!("the branches' outputs are larger than {max} bytes together (VALUE_BYTES_MAX)")))
        } else {
            self.room()
        };
        if let Err(fault) = room {
            self.prune(id);
            return self.fail(id, fault);
        }
        // While the branches are still being started one by one, that goes on by itself.
        if more && !self.live.ready.iter().any(|r| matches!(r, Ready::Fill(frame) if *frame == id)) {
            self.live.ready.push_front(Ready::Fill(id));
        }
    }

    /// Keeps what a branch gave.
    fn keep_output(&mut self, id: FrameId, slot: u64, output: Held) {
        let Some(State::Gather(_, join) | State::Fork(join)) = self.live.frames.get_mut(&id).map(|f| &mut f.state)
        else {
            return;
        };
        let before = join.gathered();
        join.outputs.insert(slot, output);
        join.blocks.pack(&mut join.outputs, &mut self.values);
        self.live.gathered = (self.live.gathered + join.gathered()).saturating_sub(before);
    }

    /// All branches are done.
    fn leave_join(&mut self, id: FrameId) -> Result<(), Fault> {
        let Some(join) = self.join(id) else { return Ok(()) };
        let outputs = join.blocks.all(&join.outputs);
        let output = self.values.make(Arc::new(Value::Array(outputs)))?;
        self.leave(id, output);
        Ok(())
    }
}
