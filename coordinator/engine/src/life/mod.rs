//! The standard's life-cycle events: what a fold did to a run and to its tasks, as data. Where nobody wants them, nothing is kept.
//!
//! The workflow's own events follow from its state before and after the fold; those of tasks are told by the walk, where a task
//! is entered, left, fails, is tried again, or is cut off.

mod cloud;

pub use cloud::LifeEvent;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_definition::plan::{NodeId, NodeKind, Plan};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{Event, Namespace, Problem, RunId, StepPath, Timestamp, Version, WorkflowName, limit};

use crate::advance::{Outcome, fold};
use crate::fault::{Fault, shortened};
use crate::frame::{Frame, FrameId, Place};
use crate::observe::Observer;
use crate::run::{End, Phase, Run};
use crate::walk::Walk;

/// One thing that happened to a run or to one of its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Happening {
    /// The run began.
    #[serde(rename = "ws")]
    Started,
    /// It was put aside, or a person paused it.
    #[serde(rename = "wp")]
    Suspended,
    /// It goes on after that.
    #[serde(rename = "wr")]
    Resumed,
    /// A task began to listen.
    #[serde(rename = "ls")]
    CorrelationStarted,
    /// It has what it listened for.
    #[serde(rename = "lc")]
    CorrelationCompleted,
    /// Somebody ended the run.
    #[serde(rename = "wx")]
    Cancelled,
    /// It ended with this error.
    #[serde(rename = "wf")]
    Faulted(Problem),
    /// It ended with this output; none where that is larger than an event carries.
    #[serde(rename = "wc")]
    Completed(Option<Value>),
    /// A token entered a task, which was created and started by that.
    #[serde(rename = "tb")]
    TaskBegan(StepPath),
    /// A task will try its body again.
    #[serde(rename = "tr")]
    TaskRetried(StepPath),
    /// A task was cut off.
    #[serde(rename = "tx")]
    TaskCancelled(StepPath),
    /// A task ended with this error.
    #[serde(rename = "tf")]
    TaskFaulted(StepPath, Problem),
    /// A task was done.
    #[serde(rename = "tc")]
    TaskCompleted(StepPath),
}

/// What one fold did to one run. The same run, event and time give the same value everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The run.
    #[serde(rename = "r")]
    pub run: RunId,
    /// Its tenant.
    #[serde(rename = "n")]
    pub namespace: Namespace,
    /// Its workflow.
    #[serde(rename = "w")]
    pub workflow: WorkflowName,
    /// The version of that.
    #[serde(rename = "v")]
    pub version: Version,
    /// The run's revision after the fold: no other fold of the run has it.
    #[serde(rename = "e")]
    pub rev: u64,
    /// The log's time of the event that was folded.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// In order; never empty.
    #[serde(rename = "h")]
    pub happenings: Vec<Happening>,
}

/// [`crate::advance`], and what it did; the outcome is the same.
#[must_use]
pub fn advance_telling(
    plan: &Plan,
    id: RunId,
    run: Option<Run>,
    at: Timestamp,
    event: &Event,
) -> (Outcome, Option<Told>) {
    let before = run.as_ref().map(Run::state);
    let observer = Observer::for_life();
    let outcome = fold(plan, id, run, at, event, Some(&observer));
    let told = outcome.run.as_ref().and_then(|run| {
        let happenings = with_those_of_the_run(before, run, observer.take_happenings());
        (!happenings.is_empty()).then(|| Told {
            run: id,
            namespace: run.head.namespace.clone(),
            workflow: run.head.workflow.clone(),
            version: run.head.version.clone(),
            rev: run.tally.rev,
            at,
            happenings,
        })
    });
    (outcome, told)
}

/// The run's own events stand around those of its tasks.
fn with_those_of_the_run(before: Option<RunState>, run: &Run, tasks: Vec<Happening>) -> Vec<Happening> {
    let state = run.state();
    if before == Some(state) {
        return tasks;
    }
    let first = match before {
        None => Some(Happening::Started),
        Some(RunState::Parked) if state == RunState::Running => Some(Happening::Resumed),
        Some(_) => None,
    };
    let last = match (&run.phase, state) {
        (Phase::Ended(_, End::Completed(output)), _) => {
            let fits = output.bytes() <= limit::LIFE_OUTPUT_BYTES_MAX as u64;
            Some(Happening::Completed(fits.then(|| output.value().as_ref().clone())))
        }
        (Phase::Ended(_, End::Faulted(problem)), _) => {
            let problem = serde_json::from_value::<Problem>(problem.value().as_ref().clone());
            Some(Happening::Faulted(problem.map(|p| small(&p)).unwrap_or_else(|_| unreadable())))
        }
        (Phase::Ended(_, End::Cancelled(_)), _) => Some(Happening::Cancelled),
        (Phase::Parked(..), _) => Some(Happening::Suspended),
        (Phase::Live(_), _) => None,
    };
    first.into_iter().chain(tasks).chain(last).collect()
}

/// An error as events carry it.
fn small(problem: &Problem) -> Problem {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let bytes = problem.kind.len() + problem.title.len() + length(&problem.detail) + length(&problem.instance);
    if bytes > limit::LIFE_OUTPUT_BYTES_MAX {
        return shortened(problem);
    }
    // What its author added is in the run's own error.
    Problem { extra: None, ..problem.clone() }
}

fn unreadable() -> Problem {
    Problem::standard(stepmill_protocol::problem::Standard::Runtime, "the run's error cannot be read")
}

/// What the walk tells of tasks.
#[derive(Debug, Default)]
pub(crate) struct Tale {
    happenings: Vec<Happening>,
    /// Frames that are still there but have been told to be done.
    done: BTreeSet<FrameId>,
}

impl Observer {
    /// One that wants to know of life-cycle events and of nothing else.
    pub(crate) fn for_life() -> Self {
        Self { tale: Some(RefCell::default()), ..Self::default() }
    }

    fn take_happenings(self) -> Vec<Happening> {
        self.tale.map(|tale| tale.into_inner().happenings).unwrap_or_default()
    }
}

impl<'p> Walk<'p> {
    fn tale(&self) -> Option<&'p RefCell<Tale>> {
        self.observer?.tale.as_ref()
    }

    /// Tells of a node that is a task: bodies of tasks are lists without a life of their own.
    fn tell_of(&self, node: NodeId, what: impl FnOnce(StepPath) -> Happening) {
        let Some(tale) = self.tale() else { return };
        if let Some(node) = self.plan.get(node).filter(|node| is_task(self.plan, node.parent)) {
            tale.borrow_mut().happenings.push(what(node.path.clone()));
        }
    }

    /// A token has entered a task.
    pub(crate) fn tell_begun(&self, node: NodeId) {
        self.tell_of(node, Happening::TaskBegan);
    }

    /// A task is done.
    pub(crate) fn tell_completed(&self, node: NodeId) {
        self.tell_of(node, Happening::TaskCompleted);
    }

    /// A task failed.
    pub(crate) fn tell_faulted(&self, node: NodeId, fault: &Fault) {
        self.tell_of(node, |path| Happening::TaskFaulted(path, small(&fault.problem)));
    }

    /// A task will try its body again.
    pub(crate) fn tell_retried(&self, node: NodeId) {
        self.tell_of(node, Happening::TaskRetried);
    }

    /// A task begins to listen.
    pub(crate) fn tell_listening(&self) {
        if let Some(tale) = self.tale() {
            tale.borrow_mut().happenings.push(Happening::CorrelationStarted);
        }
    }

    /// A task has what it listened for.
    pub(crate) fn tell_heard(&self) {
        if let Some(tale) = self.tale() {
            tale.borrow_mut().happenings.push(Happening::CorrelationCompleted);
        }
    }

    /// Tasks are cut off; those inside of others come first.
    pub(crate) fn tell_cancelled<'f>(&self, inside_last: impl DoubleEndedIterator<Item = (&'f FrameId, &'f Frame)>) {
        let Some(tale) = self.tale() else { return };
        for (id, frame) in inside_last.rev() {
            if !tale.borrow().done.contains(id) {
                self.tell_of(frame.node, Happening::TaskCancelled);
            }
        }
    }

    /// A task at this place ends the workflow: the tasks around it are done with it.
    pub(crate) fn tell_ended_around(&self, place: Place) {
        let Some(tale) = self.tale() else { return };
        let mut below = place;
        while let Some((id, frame)) = below.parent.and_then(|id| Some((id, self.live.frames.get(&id)?))) {
            tale.borrow_mut().done.insert(id);
            self.tell_completed(frame.node);
            below = frame.place;
        }
    }
}

/// Whether what lies in this node is a task of its own: it stands in a list, or is a branch.
fn is_task(plan: &Plan, parent: Option<NodeId>) -> bool {
    parent.and_then(|parent| plan.get(parent)).is_some_and(|parent| match &parent.kind {
        NodeKind::Do { .. } | NodeKind::Fork { .. } => true,
        NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::For { .. }
        | NodeKind::Try { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Call(_)
        | NodeKind::Listen(_) => false,
    })
}
