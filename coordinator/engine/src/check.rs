//! What must be true of a stored run before the engine walks on from it. Checked once after each load; the walk relies on
//! it, and still never panics.

use stepmill_definition::plan::{Node, NodeId, NodeKind, Plan};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, ValueId};

use crate::frame::{Ends, Frame, FrameId, Ready, State};
use crate::rules::ENGINE_VERSION;
use crate::run::{Last, Live, Phase, Run};

/// Counted numbers stay far below this in any run that could exist.
pub(crate) const NUMBER_MAX: u64 = 1 << 52;

/// Something that can only be a bug or a damaged record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("frame {0} lies below frame {1}, which does not exist")]
    Orphan(u64, u64),
    #[error("a token is to go on below frame {0}, which does not exist")]
    Lost(u64),
    #[error("timer {0} is of frame {1}, which does not exist or does not wait for it")]
    Timer(u64, u64),
    #[error("frame {0} waits for timer {1}, which is not armed")]
    NoTimer(u64, u64),
    #[error("frame {0} is of node {1}, which the plan does not have or which is of another kind")]
    Node(u64, u32),
    #[error("a token is to enter node {0}, which the plan does not have")]
    Entry(u32),
    #[error("node {0} is to be undone, but the plan does not say how")]
    Undo(u32),
    #[error("{0} is given as the last number, which cannot be")]
    Number(u64),
}

impl Run {
    /// Holds the run against a plan: the same definition, rules that this engine knows, and every place it refers to.
    ///
    /// # Errors
    /// A problem that says what does not fit.
    pub fn validate(&self, plan: &Plan) -> Result<(), Problem> {
        let refuse = |detail: String| Err(Problem::standard(Standard::Runtime, detail).with_status(500));
        if plan.digest != self.head.digest {
            return refuse(format!(
                "run {} stays on definition {}, not {}",
                self.head.id, self.head.digest, plan.digest
            ));
        }
        if self.head.engine > ENGINE_VERSION {
            let (theirs, id) = (self.head.engine, self.head.id);
            return refuse(format!(
                "run {id} was started under engine rules {theirs}, this coordinator knows {ENGINE_VERSION}; upgrade it"
            ));
        }
        match &self.phase {
            Phase::Live(live) | Phase::Parked(live, _) => match live.check_plan(plan) {
                Ok(()) => Ok(()),
                Err(broken) => refuse(format!("the stored state of run {} is damaged: {broken}", self.head.id)),
            },
            Phase::Ended(..) => Ok(()),
        }
    }

    /// Values that are held though nothing refers to them. Always empty after a fold; tests look at it.
    #[doc(hidden)]
    #[must_use]
    pub fn unneeded_values(&self) -> Vec<ValueId> {
        self.values.unneeded()
    }
}

impl Live {
    /// Frames, tokens and timers refer to each other.
    pub(crate) fn check_shape(&self) -> Result<(), Broken> {
        self.check_numbers()?;
        for (id, frame) in &self.frames {
            if let Some(parent) = frame.place.parent
                && (parent >= *id || !self.frames.contains_key(&parent))
            {
                return Err(Broken::Orphan(id.0, parent.0));
            }
            if let Some(timer) = frame.timers().find(|t| !self.timers.contains_key(t)) {
                return Err(Broken::NoTimer(id.0, timer.0));
            }
        }
        for ready in &self.ready {
            if let Some(parent) = ready.parent()
                && !self.frames.contains_key(&parent)
            {
                return Err(Broken::Lost(parent.0));
            }
        }
        for (id, timer) in &self.timers {
            let of = match timer.ends {
                Ends::Run => continue,
                Ends::Task(f) | Ends::Attempt(f) | Ends::Delay(f) | Ends::Wait(f) => f,
            };
            if !self.frames.get(&of).is_some_and(|frame| frame.timers().any(|t| t == *id)) {
                return Err(Broken::Timer(id.0, of.0));
            }
        }
        Ok(())
    }

    /// The next frame and timer get numbers that are free, and no number comes near its end.
    fn check_numbers(&self) -> Result<(), Broken> {
        let Last { frame, visit, timer, turn } = self.last;
        let used = [
            (frame, self.frames.keys().next_back().map_or(0, |id| id.0)),
            (timer, self.timers.keys().next_back().map_or(0, |id| id.0)),
            (visit, 0),
            (turn, self.turn.unwrap_or(0)),
        ];
        match used.into_iter().find(|(last, highest)| last < highest || *last > NUMBER_MAX) {
            Some((last, _)) => Err(Broken::Number(last)),
            None => Ok(()),
        }
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), Broken> {
        for (id, frame) in &self.frames {
            let node = plan.get(frame.node).filter(|node| fits(node, frame)).ok_or(Broken::Node(id.0, frame.node.0))?;
            match frame.place.parent {
                Some(parent) => self.check_below(plan, parent, node.id)?,
                None if is_first(plan, node.id) => {}
                None => return Err(Broken::Node(id.0, node.id.0)),
            }
        }
        for ready in &self.ready {
            match ready {
                Ready::Enter(place, node, _) => {
                    plan.get(*node).ok_or(Broken::Entry(node.0))?;
                    match place.parent {
                        Some(parent) => self.check_below(plan, parent, *node)?,
                        None if is_first(plan, *node) => {}
                        None => return Err(Broken::Entry(node.0)),
                    }
                }
                Ready::Fill(_) => {}
            }
        }
        match self.undo.iter().find(|undo| !plan.compensations.contains_key(&undo.node)) {
            Some(undo) => Err(Broken::Undo(undo.node.0)),
            None => Ok(()),
        }
    }

    fn check_below(&self, plan: &Plan, parent: FrameId, node: NodeId) -> Result<(), Broken> {
        let above = self.frames.get(&parent).and_then(|f| plan.get(f.node));
        if above.is_some_and(|above| has_child(above, node)) { Ok(()) } else { Err(Broken::Node(parent.0, node.0)) }
    }
}

/// Whether a token may begin there: the workflow's own list, or what undoes a step.
fn is_first(plan: &Plan, node: NodeId) -> bool {
    node == plan.root || plan.compensations.values().any(|undoes| *undoes == node)
}

fn fits(node: &Node, frame: &Frame) -> bool {
    matches!(
        (&node.kind, &frame.state),
        (NodeKind::Do { .. }, State::List)
            | (NodeKind::Scope { .. }, State::Scope)
            | (NodeKind::For { concurrency: None, .. }, State::Loop(_))
            | (NodeKind::For { concurrency: Some(_), .. }, State::Gather(..))
            | (NodeKind::Fork { .. }, State::Fork(_))
            | (NodeKind::Try { .. }, State::Try(_))
            | (NodeKind::Wait { .. }, State::Wait(_))
            | (NodeKind::Call(_), State::Call(_))
            | (NodeKind::Listen(_), State::Listen(_))
    )
}

fn has_child(node: &Node, child: NodeId) -> bool {
    match &node.kind {
        NodeKind::Do { children } => children.contains(&child),
        NodeKind::For { body, .. } | NodeKind::Scope { body, .. } => *body == child,
        NodeKind::Fork { branches, .. } => branches.contains(&child),
        NodeKind::Try { body, catch } => *body == child || catch.body == Some(child),
        NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Call(_) => false,
        NodeKind::Listen(listen) => listen.foreach.as_ref().and_then(|f| f.body) == Some(child),
    }
}
