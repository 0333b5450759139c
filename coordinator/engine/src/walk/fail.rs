//! A task failed: the error goes up, frame by frame, until a `try` catches it or the run ends with it.

use super::Walk;
use crate::fault::Fault;
use crate::frame::{FrameId, Place, State};

impl Walk<'_> {
    /// A task that has a frame failed; nothing is under way below it.
    pub(crate) fn fail(&mut self, id: FrameId, fault: Fault) {
        let fault = self.at_frame(id, fault);
        let Some(frame) = self.close(id) else { return };
        self.tell_faulted(frame.node, &fault);
        self.fail_at(frame.place, fault);
    }

    /// What is at this place failed.
    pub(crate) fn fail_at(&mut self, place: Place, mut fault: Fault) {
        let mut below = place;
        while let Some(id) = below.parent {
            let Some(frame) = self.live.frames.get(&id) else { break };
            match &frame.state {
                State::Try(_) => match self.catch(id, fault) {
                    Some(still) => fault = still,
                    None => return,
                },
                State::Gather(..) | State::Fork(_) => match self.branch_failed(id, below.slot, fault) {
                    Some(still) => fault = still,
                    None => return,
                },
                State::List | State::Scope | State::Loop(_) | State::Wait(_) | State::Call(_) => {}
                State::Listen(_) => {}
            }
            let Some(frame) = self.close(id) else { break };
            self.tell_faulted(frame.node, &fault);
            below = frame.place;
        }
        self.fault_run(fault.problem);
    }

    /// The fault with the path of a frame's task, unless it has one.
    pub(crate) fn at_frame(&self, id: FrameId, fault: Fault) -> Fault {
        match self.live.frames.get(&id).and_then(|f| self.plan.get(f.node)) {
            Some(node) => fault.at(&node.path),
            None => fault,
        }
    }
}
