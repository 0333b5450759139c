//! What a run still has to say to others though none of its steps waits for it: that it has ended, that a run it had started
//! is of no use any more, that one is to start. Errands are committed with the state that makes them and outlive the run's end; each is done when
//! the owner says so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepmill_definition::plan::{NodeId, NodeKind, Plan, SystemStep};
use stepmill_protocol::{ChildEnd, CommandId, Event, Parent, Pass, Problem, RunId, StartRun, SystemAction, Visit};

use crate::command::Command;
use crate::emit;
use crate::frame::{Call, State};
use crate::run::{End, Head, Phase, Run};
use crate::values::Held;

/// Why a run is ended that somebody else has started, for people.
const NOT_AWAITED: &str = "the step that started it does not wait for it any more";

/// The open errands of a run, each under a visit of its own.
pub(crate) type Errands = BTreeMap<Visit, Errand>;

/// One errand.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Tell the parent that this run has ended.
    #[serde(rename = "t")]
    Tell,
    /// End a run that a step of this one has started.
    #[serde(rename = "c")]
    Cancel(RunId, Option<Unsure>),
    /// Start the run that a step names, with this input.
    #[serde(rename = "s")]
    Start(NodeId, Held),
}

/// A start of which nobody has said that it was carried out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unsure {
    node: NodeId,
    visit: Visit,
    pass: Pass,
    dispatch: u32,
    with: Held,
}

impl Errand {
    /// To end the run that this call has started, or may have.
    pub(crate) fn cancel(call: &Call, run: RunId, node: NodeId, child: RunId) -> Self {
        let CommandId { visit, pass, dispatch, .. } = call.id(run);
        let unsure = (!call.started).then(|| Unsure { node, visit, pass, dispatch, with: call.with.clone() });
        Self::Cancel(child, unsure)
    }

    /// Every reference to a value that it holds.
    pub(crate) fn each_held<E>(&mut self, f: impl FnMut(&mut Held) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Tell | Self::Cancel(_, None) => Ok(()),
            Self::Cancel(_, Some(unsure)) => Some(&mut unsure.with).into_iter().try_for_each(f),
            Self::Start(_, with) => Some(with).into_iter().try_for_each(f),
        }
    }
}

/// The id of an errand's dispatch.
pub(crate) fn errand_id(run: RunId, visit: Visit) -> CommandId {
    CommandId { run, visit, pass: Pass(0), dispatch: 1 }
}

impl Run {
    /// What the system is to do for an open dispatch of its pool; none when it is not open. A pure function of run and plan.
    #[must_use]
    pub fn action(&self, plan: &Plan, id: CommandId) -> Option<SystemAction> {
        if id.run != self.head.id {
            return None;
        }
        if let Some(errand) = self.errands.get(&id.visit).filter(|_| errand_id(id.run, id.visit) == id) {
            return self.errand(plan, id, errand);
        }
        let Phase::Live(live) = &self.phase else { return None };
        let frame = live.frames.get(live.calls.get(&id.visit)?)?;
        let State::Call(call) = &frame.state else { return None };
        if call.id(self.head.id) != id || call.started {
            return None;
        }
        let NodeKind::Call(step) = &plan.get(frame.node)?.kind else { return None };
        match step.system.as_ref()? {
            SystemStep::Workflow { .. } => start(&self.head, plan, frame.node, id, &call.with).map(SystemAction::Start),
            SystemStep::Emit => Some(SystemAction::Emit {
                namespace: self.head.namespace.clone(),
                event: Box::new(emit::completed(call)?),
            }),
        }
    }

    fn errand(&self, plan: &Plan, id: CommandId, errand: &Errand) -> Option<SystemAction> {
        match errand {
            Errand::Tell => self.tell(),
            Errand::Start(node, with) => start(&self.head, plan, *node, id, with).map(SystemAction::Start),
            Errand::Cancel(run, unsure) => {
                let start = unsure.as_ref().and_then(|unsure| {
                    let Unsure { node, visit, pass, dispatch, with } = unsure;
                    let id = CommandId { run: self.head.id, visit: *visit, pass: *pass, dispatch: *dispatch };
                    start(&self.head, plan, *node, id, with).map(Box::new)
                });
                Some(SystemAction::Cancel { run: *run, reason: NOT_AWAITED.into(), start })
            }
        }
    }

    /// The word to the parent.
    fn tell(&self) -> Option<SystemAction> {
        let Parent { id, .. } = self.head.parent.as_ref()?;
        let Phase::Ended(_, end) = &self.phase else { return None };
        let problem = |held: &Held| serde_json::from_value::<Problem>(held.value().as_ref().clone()).ok();
        let end = match end {
            End::Completed(output) => ChildEnd::Completed { output: output.value().as_ref().clone() },
            End::Faulted(held) => ChildEnd::Faulted { problem: problem(held)? },
            End::Cancelled(held) => ChildEnd::Cancelled { problem: problem(held)? },
        };
        let event = Event::ChildEnded { id: *id, child: self.head.id, end, usage: self.tally.usage };
        Some(SystemAction::Tell { run: id.run, event: Box::new(event) })
    }

    /// Whether nothing more has to be done for it: it has ended, and everybody has been told.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state().is_final() && self.errands.is_empty()
    }

    /// The errands, as open dispatches.
    pub(crate) fn open_errands(&self) -> impl Iterator<Item = CommandId> {
        self.errands.keys().map(|visit| errand_id(self.head.id, *visit))
    }

    /// An errand is done, or cannot be. None when there is no such errand.
    pub(crate) fn end_errand(&mut self, id: CommandId) -> Option<Command> {
        let errand = self.errands.remove(&id.visit)?;
        drop(errand);
        self.values.sweep_all();
        self.tally.rev = self.tally.rev.saturating_add(1);
        Some(Command::Withdraw { id })
    }
}

/// The run that a step starts.
pub(crate) fn child(plan: &Plan, node: NodeId, id: &CommandId) -> Option<RunId> {
    Some(RunId::child(id, &plan.get(node)?.path))
}

/// How many runs stand above a run that this one starts.
pub(crate) fn depth_below(head: &Head) -> u32 {
    head.parent.as_ref().map_or(0, |parent| parent.depth).saturating_add(1)
}

fn start(head: &Head, plan: &Plan, node: NodeId, id: CommandId, with: &Held) -> Option<StartRun> {
    let node = plan.get(node)?;
    let NodeKind::Call(step) = &node.kind else { return None };
    let Some(SystemStep::Workflow { workflow, version, wait, .. }) = &step.system else { return None };
    Some(StartRun {
        run: RunId::child(&id, &node.path),
        namespace: head.namespace.clone(),
        workflow: workflow.clone(),
        version: version.clone(),
        input: with.value().as_ref().clone(),
        parent: Parent { id, path: node.path.clone(), depth: depth_below(head), waits: *wait },
    })
}
