//! What operators did to a run, and what is kept so that they can do more: where it is paused, and what a failed run was in the
//! middle of. Only data.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use stepmill_definition::plan::{NodeId, Plan};
use stepmill_protocol::{Operation, StepPath, Timestamp, limit};

use crate::bin::Bin;
use crate::check::Broken;
use crate::frame::{Frame, FrameId, Place, Ready, State, Timer, TryPhase};
use crate::run::Live;
use crate::values::Held;

/// What operators did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Steering {
    /// The last acts.
    pub(crate) acts: VecDeque<Done>,
    /// What a run was in the middle of that ended with an error.
    pub(crate) wreck: Option<Box<Wreck>>,
    /// When it was put aside the last time.
    pub(crate) parked_at: Option<Timestamp>,
}

/// An act that changed the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) id: Bin<16>,
    pub(crate) at: Timestamp,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) act: String,
    pub(crate) step: Option<StepPath>,
    /// Where the run stood.
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Steering {
    /// Whether an act was done before.
    pub(crate) fn knows(&self, id: [u8; 16]) -> bool {
        self.acts.iter().any(|done| done.id == Bin(id))
    }

    /// Notes an act.
    pub(crate) fn note(&mut self, operation: &Operation, at: Timestamp, before: &str, after: &str) {
        let Operation { id, by, reason, act } = operation;
        let step = act.step().map(|step| step.path.clone());
        let (before, after) = (before.to_owned(), after.to_owned());
        let (id, act) = (Bin(id.into_bytes()), act.name().to_owned());
        self.acts.push_back(Done { id, at, by: by.clone(), reason: reason.clone(), act, step, before, after });
        while self.acts.len() > limit::ACTS_KEPT_MAX {
            self.acts.pop_front();
        }
    }
}

/// Since when a run is paused, and by whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Paused {
    pub(crate) since: Timestamp,
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// A run as it was when a step failed that ended it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wreck {
    pub(crate) live: Live,
    pub(crate) failed: Failed,
}

/// The step that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failed {
    /// One that was under way.
    #[serde(rename = "f")]
    Frame(FrameId),
    /// One that a token was about to enter with this input, or has passed in one go.
    #[serde(rename = "e")]
    Entry(Place, NodeId, Held),
}

impl Failed {
    /// Puts a frame back that was closed; its timers are gone.
    pub(crate) fn back(live: &mut Live, id: FrameId, frame: Frame) -> Self {
        live.frames.insert(id, frame);
        Self::Frame(id)
    }
}

impl Wreck {
    /// The run as it was, to go on from. A token that was about to enter the step is not in it.
    pub(crate) fn into_live(self) -> Live {
        self.live
    }

    /// The node of the step that failed.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match &self.failed {
            Failed::Frame(id) => self.live.frames.get(id).map(|frame| frame.node),
            Failed::Entry(_, node, _) => Some(*node),
        }
    }

    /// Every reference to a value.
    pub(crate) fn each_held<E>(&mut self, mut f: impl FnMut(&mut Held) -> Result<(), E>) -> Result<(), E> {
        self.live.each_held(&mut f)?;
        match &mut self.failed {
            Failed::Frame(_) => Ok(()),
            Failed::Entry(_, _, raw) => f(raw),
        }
    }

    /// Its places are those of the plan.
    pub(crate) fn check_plan(&self, plan: &Plan) -> Result<(), Broken> {
        self.live.check_plan(plan)?;
        match &self.failed {
            Failed::Frame(id) if self.live.frames.contains_key(id) => Ok(()),
            Failed::Frame(id) => Err(Broken::Lost(id.0)),
            Failed::Entry(place, node, _) => self.live.check_entry(plan, *place, *node),
        }
    }
}

impl Live {
    /// Whether a timer stands still.
    pub(crate) fn holds(&self, timer: &Timer) -> bool {
        self.paused.is_some() && timer.ends.is_limit()
    }

    /// Lets frames forget the timers that are no more: the one whose coming made a step fail. False where one cannot be without.
    pub(crate) fn forget_timers(&mut self) -> bool {
        for frame in self.frames.values_mut() {
            frame.timeout = frame.timeout.filter(|timer| self.timers.contains_key(timer));
            if let State::Try(t) = &mut frame.state
                && let TryPhase::Body(Some(timer)) | TryPhase::Delay(timer) = t.phase
                && !self.timers.contains_key(&timer)
            {
                t.phase = TryPhase::Body(None);
            }
        }
        self.ready.retain(|ready| match ready {
            Ready::Enter(place, ..) => place.parent.is_none_or(|parent| self.frames.contains_key(&parent)),
            Ready::Fill(frame) => self.frames.contains_key(frame),
        });
        self.frames.values().all(|frame| frame.timers().all(|timer| self.timers.contains_key(&timer)))
    }
}
