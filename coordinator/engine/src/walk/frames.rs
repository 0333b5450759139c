//! Opening and closing frames, with all that hangs on them: timers, dispatches, values, counts.

use std::collections::BTreeSet;
use std::ops::Bound;

use stepmill_definition::plan::{Node, NodeId, NodeKind, SystemStep};
use stepmill_protocol::{CommandId, Millis, PoolName, Priority, TimerId, Visit, limit};

use super::Walk;
use crate::command::Command;
use crate::errand::{Errand, child, errand_id};
use crate::fault::Fault;
use crate::frame::{Call, Ends, Frame, FrameId, Place, Ready, State, Timer};
use crate::mention::Texts;
use crate::scope::Site;
use crate::values::Held;
use crate::visit::Chain;

/// Bytes that a frame adds to the control state, roughly and rather too many.
const FRAME_WEIGHT: u64 = 128;
/// Bytes that the output of a finished branch adds, or a finished step that could be undone.
const GATHERED_WEIGHT: u64 = 16;

/// A frame to be opened.
pub(crate) struct Opening<'a> {
    pub(crate) place: Place,
    pub(crate) node: &'a Node,
    pub(crate) raw: &'a Held,
    pub(crate) input: &'a Held,
    pub(crate) chain: Option<Chain>,
    /// The task's timeout, evaluated.
    pub(crate) timeout: Option<Millis>,
}

impl Walk<'_> {
    /// The chain of a place, where it lies inside of a block that retries.
    pub(crate) fn chain(&self, place: Place, node: &Node) -> Option<Chain> {
        let parent = self.live.frames.get(&place.parent?)?;
        parent.chain.map(|chain| chain.child(node.id, place.slot))
    }

    /// The next counted visit.
    pub(crate) fn count_visit(&mut self) -> Visit {
        self.live.last.visit += 1;
        Visit(self.live.last.visit)
    }

    /// Whether the control state has room for one more frame.
    pub(crate) fn room(&self) -> Result<(), Fault> {
        let frames = self.live.frames.len() as u64 * FRAME_WEIGHT;
        let gathered = ((self.live.gathered + self.live.undo.len()) as u64).saturating_mul(GATHERED_WEIGHT);
        let errands = self.errands.len() as u64 * FRAME_WEIGHT;
        if frames.saturating_add(gathered).saturating_add(errands).saturating_add(self.values.weight())
            <= limit::RUN_STATE_BYTES_MAX as u64
        {
            return Ok(());
        }
        let max = limit::RUN_STATE_BYTES_MAX;
        Err(Fault::limit(format!(
            "the run's state is larger than {max} bytes (RUN_STATE_BYTES_MAX); use fewer parallel branches or iterations"
        )))
    }

    /// The task's own timeout, on its input.
    pub(crate) fn timeout_of(&self, site: &Site<'_>, node: &Node, input: &Held) -> Result<Option<Millis>, Fault> {
        node.timeout.as_ref().map(|spec| self.duration(site, spec, input.value())).transpose()
    }

    /// The number that the next frame gets.
    pub(crate) fn next_frame(&self) -> FrameId {
        FrameId(self.live.last.frame + 1)
    }

    /// Opens a frame. Keeps of the inputs what an expression still to come may read or what the task itself needs.
    pub(crate) fn open(&mut self, opening: Opening<'_>, state: State) -> FrameId {
        let Opening { place, node, raw, input, chain, timeout } = opening;
        let id = self.next_frame();
        self.live.last.frame = id.0;
        let later = Texts::later(node);
        let timeout = timeout.map(|after| self.arm(after, Ends::Task(id)));
        let frame = Frame {
            node: node.id,
            place,
            began: self.at,
            raw: later.mention("task").then(|| raw.clone()),
            input: (needs_input(node) || self.plan.compensations.contains_key(&node.id) || later.mention("input"))
                .then(|| input.clone()),
            chain,
            timeout,
            then: None,
            state,
        };
        if let State::Listen(_) = &frame.state {
            self.live.listening.insert(id);
            self.tell_listening();
        }
        self.live.frames.insert(id, frame);
        id
    }

    /// Removes one frame; its children must be gone. Settles its timers and its dispatch.
    pub(crate) fn close(&mut self, id: FrameId) -> Option<Frame> {
        let mut frame = self.live.frames.remove(&id)?;
        for timer in frame.timers() {
            self.disarm(timer);
        }
        match &frame.state {
            State::Call(call) => {
                self.live.calls.remove(&call.visit);
                let id = call.id(self.head.id);
                let never = if call.started { false } else { self.withdraw(id) };
                if !never && !call.ended {
                    self.recall(frame.node, call);
                }
            }
            State::Gather(_, join) | State::Fork(join) => {
                self.live.branches = self.live.branches.saturating_sub(join.live as usize);
                self.live.gathered = self.live.gathered.saturating_sub(join.gathered());
            }
            State::List | State::Scope | State::Loop(_) | State::Try(_) | State::Wait(_) => {}
            State::Listen(_) => drop(self.live.listening.remove(&id)),
        }
        let values = &mut self.values;
        let _: Result<(), ()> = frame.each_held(|held| {
            values.suspect(held.id());
            Ok(())
        });
        Some(frame)
    }

    /// Removes everything below a frame, and the tokens that were to go on there.
    pub(crate) fn prune(&mut self, root: FrameId) {
        let mut doomed = BTreeSet::from([root]);
        // A child's number is larger than its parent's, so one pass in order finds all.
        for (id, frame) in self.live.frames.range((Bound::Excluded(root), Bound::Unbounded)) {
            if frame.place.parent.is_some_and(|p| doomed.contains(&p)) {
                doomed.insert(*id);
            }
        }
        let mut kept = std::mem::take(&mut self.live.ready);
        kept.retain(|ready| {
            let stays = ready.parent().is_none_or(|p| !doomed.contains(&p));
            if let (false, Ready::Enter(_, _, raw)) = (stays, ready) {
                self.values.suspect(raw.id());
            }
            stays
        });
        self.live.ready = kept;
        doomed.remove(&root);
        self.tell_cancelled(doomed.iter().filter_map(|id| self.live.frames.get_key_value(id)));
        for id in doomed {
            self.close(id);
        }
    }

    /// Removes everything: the run ends or is put aside.
    pub(crate) fn close_all(&mut self) {
        self.tell_cancelled(self.live.frames.iter());
        let all: Vec<FrameId> = self.live.frames.keys().copied().collect();
        for id in all {
            self.close(id);
        }
        let rest: Vec<TimerId> = self.live.timers.keys().copied().collect();
        for timer in rest {
            self.disarm(timer);
        }
        self.live.ready.clear();
        self.live.listening.clear();
        self.live.turn = None;
    }

    pub(crate) fn arm(&mut self, after: Millis, ends: Ends) -> TimerId {
        self.live.last.timer += 1;
        let id = TimerId(self.live.last.timer);
        let due = self.at.plus(after);
        self.live.timers.insert(id, Timer { due, ends });
        self.commands.push(Command::Arm { timer: id, due });
        id
    }

    /// Settles a timer. One that was armed in this very fold is not even asked for.
    pub(crate) fn disarm(&mut self, timer: TimerId) {
        if self.live.timers.remove(&timer).is_none() {
            return;
        }
        let armed_now = |c: &Command| matches!(c, Command::Arm { timer: t, .. } if *t == timer);
        let position = (timer.0 > self.timers_before).then(|| self.commands.iter().rposition(armed_now)).flatten();
        match position {
            Some(at) => drop(self.commands.remove(at)),
            None => self.commands.push(Command::Disarm { timer }),
        }
    }

    /// Asks for a dispatch.
    pub(crate) fn dispatch(&mut self, id: CommandId, pool: PoolName, priority: Priority) {
        self.asked_now.insert(id);
        self.commands.push(Command::Dispatch { id, pool, priority });
    }

    /// Settles a dispatch. One that was asked for in this very fold is not even asked for: true, then.
    pub(crate) fn withdraw(&mut self, id: CommandId) -> bool {
        let is_it = |c: &Command| matches!(c, Command::Dispatch { id: asked, .. } if *asked == id);
        let asked_now = self.asked_now.remove(&id).then(|| self.commands.iter().rposition(is_it)).flatten();
        match asked_now {
            Some(at) => drop(self.commands.remove(at)),
            None => self.commands.push(Command::Withdraw { id }),
        }
        asked_now.is_some()
    }

    /// Sends an errand: a dispatch that no step waits for.
    pub(crate) fn send(&mut self, errand: Errand) {
        let visit = self.count_visit();
        self.errands.insert(visit, errand);
        self.dispatch(errand_id(self.head.id, visit), PoolName::system(), Priority::default());
    }

    /// A step is left though the run that it has started, or may have, goes on: that run is to end.
    fn recall(&mut self, node: NodeId, call: &Call) {
        let Some(NodeKind::Call(step)) = self.plan.get(node).map(|n| &n.kind) else { return };
        let Some(SystemStep::Workflow { wait: true, detached: false, .. }) = &step.system else { return };
        if let Some(child) = child(self.plan, node, &call.id(self.head.id)) {
            self.send(Errand::cancel(call, self.head.id, node, child));
        }
    }
}

/// Whether a task itself needs its input after it has begun.
fn needs_input(node: &Node) -> bool {
    match &node.kind {
        NodeKind::For { .. } | NodeKind::Fork { .. } | NodeKind::Try { .. } | NodeKind::Wait { .. } => true,
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Listen(_) => false,
        NodeKind::Call(call) => matches!(call.system, Some(SystemStep::Workflow { wait: false, .. })),
    }
}
