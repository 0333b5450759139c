//! A run: what it is, what has been counted, and where it stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use stepmill_definition::plan::NodeId;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{
    Digest, Namespace, Parent, Problem, RunId, TimerId, Timestamp, Usage, Version, Visit, WorkflowName,
};

use crate::bin::Bin;
use crate::errand::Errands;
use crate::frame::{EventPlace, Frame, FrameId, Ready, State, Timer};
use crate::secret::RunSecret;
use crate::values::{Held, ValueChanges, Values};

/// One execution of a plan. Changes only through [`crate::advance`].
#[derive(Debug)]
pub struct Run {
    pub(crate) head: Head,
    pub(crate) tally: Tally,
    pub(crate) values: Values,
    /// What is still to be said to others.
    pub(crate) errands: Errands,
    pub(crate) phase: Phase,
    /// Held against its plan since it was loaded; in memory only.
    pub(crate) checked: bool,
}

/// What never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) id: RunId,
    pub(crate) engine: u32,
    pub(crate) namespace: Namespace,
    pub(crate) workflow: WorkflowName,
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) submitted_at: Timestamp,
    pub(crate) secret: RunSecret,
    pub(crate) fingerprint: Bin<16>,
    /// The step of another run that asked for this one.
    #[serde(default)]
    pub(crate) parent: Option<Parent>,
}

/// What is counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) rev: u64,
    pub(crate) steps_done: u64,
    pub(crate) attempts_failed: u64,
    pub(crate) usage: Usage,
    /// `rev` and time of the last snapshot.
    pub(crate) snapshot_rev: u64,
    pub(crate) snapshot_at: Timestamp,
}

/// Where a run stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// On its way.
    #[serde(rename = "l")]
    Live(Live),
    /// Put aside by its owner; the state is kept as it was, with nothing open.
    #[serde(rename = "p")]
    Parked(Live, Problem),
    /// Ended.
    #[serde(rename = "e")]
    Ended(Timestamp, End),
}

/// How a run ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// With an output.
    #[serde(rename = "c")]
    Completed(Held),
    /// With an error: the value is a problem.
    #[serde(rename = "f")]
    Faulted(Held),
    /// By somebody: the value is a problem that says why.
    #[serde(rename = "x")]
    Cancelled(Held),
}

/// The state of a run on its way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Live {
    /// The workflow's raw input, where an expression of the plan mentions it.
    pub(crate) input: Option<Held>,
    /// `$context`, where an expression of the plan mentions it.
    pub(crate) context: Option<Held>,
    pub(crate) frames: BTreeMap<FrameId, Frame>,
    /// Tokens that have not been let on yet, in order.
    pub(crate) ready: VecDeque<Ready>,
    pub(crate) timers: BTreeMap<TimerId, Timer>,
    /// The number of the turn that the run has asked for.
    pub(crate) turn: Option<u64>,
    pub(crate) signals: Vec<Signal>,
    pub(crate) last: Last,
    /// Branches under way, over all forks and concurrent loops.
    pub(crate) branches: usize,
    /// Outputs of finished branches that wait for the others.
    pub(crate) gathered: usize,
    /// Finished steps that name what undoes them, in the order of their ends.
    #[serde(default)]
    pub(crate) undo: Vec<Undo>,
    /// How the run ends once they are undone; set while that is under way.
    #[serde(default)]
    pub(crate) ending: Option<Box<End>>,
    /// Up to where the run has taken events.
    #[serde(default)]
    pub(crate) heard: EventPlace,
    /// Which frame waits for the report on a visit; made from the frames after a load.
    #[serde(skip)]
    pub(crate) calls: BTreeMap<Visit, FrameId>,
    /// Which frames listen; made from the frames after a load.
    #[serde(skip)]
    pub(crate) listening: BTreeSet<FrameId>,
}

/// A finished step that can be undone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undo {
    pub(crate) node: NodeId,
    pub(crate) input: Held,
    pub(crate) output: Held,
}

/// The last numbers given out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) frame: u64,
    pub(crate) visit: u64,
    pub(crate) timer: u64,
    pub(crate) turn: u64,
}

/// A value from outside that nobody has taken yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signal {
    pub(crate) id: Bin<16>,
    pub(crate) name: String,
    pub(crate) data: Held,
}

impl Live {
    /// Every reference to a value that the state holds.
    pub(crate) fn each_held<E>(&mut self, mut f: impl FnMut(&mut Held) -> Result<(), E>) -> Result<(), E> {
        self.input.iter_mut().chain(&mut self.context).try_for_each(&mut f)?;
        for frame in self.frames.values_mut() {
            frame.each_held(&mut f)?;
        }
        for ready in &mut self.ready {
            match ready {
                Ready::Enter(_, _, raw) => f(raw)?,
                Ready::Fill(_) => {}
            }
        }
        for undo in &mut self.undo {
            f(&mut undo.input)?;
            f(&mut undo.output)?;
        }
        match self.ending.as_deref_mut() {
            Some(End::Completed(held) | End::Faulted(held) | End::Cancelled(held)) => f(held)?,
            None => {}
        }
        self.signals.iter_mut().try_for_each(|s| f(&mut s.data))
    }

    /// Makes the indexes of frames.
    pub(crate) fn index_calls(&mut self) {
        self.calls = self
            .frames
            .iter()
            .filter_map(|(id, frame)| match &frame.state {
                State::Call(call) => Some((call.visit, *id)),
                State::List
                | State::Scope
                | State::Loop(_)
                | State::Gather(..)
                | State::Fork(_)
                | State::Try(_)
                | State::Wait(_)
                | State::Listen(_) => None,
            })
            .collect();
        let listens = |frame: &Frame| matches!(&frame.state, State::Listen(_));
        self.listening = self.frames.iter().filter(|(_, frame)| listens(frame)).map(|(id, _)| *id).collect();
    }
}

impl Run {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.head.id
    }

    /// Its tenant.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.head.namespace
    }

    /// Its workflow.
    #[must_use]
    pub fn workflow(&self) -> &WorkflowName {
        &self.head.workflow
    }

    /// The version that it stays on.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.head.version
    }

    /// The definition that it stays on.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.head.digest
    }

    /// The version of the engine's rules that it was started under.
    #[must_use]
    pub fn engine_version(&self) -> u32 {
        self.head.engine
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> RunState {
        match &self.phase {
            Phase::Live(_) => RunState::Running,
            Phase::Parked(..) => RunState::Parked,
            Phase::Ended(_, End::Completed(_)) => RunState::Completed,
            Phase::Ended(_, End::Faulted(_)) => RunState::Faulted,
            Phase::Ended(_, End::Cancelled(_)) => RunState::Cancelled,
        }
    }

    /// Counts the events that changed it; a fold that leaves it alone leaves its state alone.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.tally.rev
    }

    /// When it was submitted.
    #[must_use]
    pub fn submitted_at(&self) -> Timestamp {
        self.head.submitted_at
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Ended(at, _) => Some(*at),
            Phase::Live(_) | Phase::Parked(..) => None,
        }
    }

    /// Events that changed it since the last snapshot.
    #[must_use]
    pub fn events_since_snapshot(&self) -> u64 {
        self.tally.rev.saturating_sub(self.tally.snapshot_rev)
    }

    /// When the last snapshot was taken; the submission counts as one.
    #[must_use]
    pub fn snapshot_at(&self) -> Timestamp {
        self.tally.snapshot_at
    }

    /// Notes that a snapshot was appended. Not an event: `rev` stays.
    pub fn mark_snapshot(&mut self, at: Timestamp) {
        self.tally.snapshot_rev = self.tally.rev;
        self.tally.snapshot_at = at;
    }

    /// What to write beside the control state, and what to remove there, since the last call.
    pub fn take_value_changes(&mut self) -> ValueChanges {
        self.values.take_changes()
    }

    /// All values that belong beside the control state.
    #[must_use]
    pub fn all_values(&self) -> Vec<(stepmill_protocol::ValueId, std::sync::Arc<serde_json::Value>)> {
        self.values.beside()
    }
}
