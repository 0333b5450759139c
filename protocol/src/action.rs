//! What a run asks of the system itself: effects on other runs and on the outside that no worker carries out. Computed from
//! plan and run by the engine, carried out by the run's owner after the commit, as often as needed: each is harmless when
//! carried out twice.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud::CloudEvent;
use crate::event::{Event, Parent};
use crate::id::{Namespace, RunId, Version, WorkflowName};
use crate::problem::Problem;

/// One thing to carry out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemAction {
    /// Start a run and say that it exists.
    Start(StartRun),
    /// Append an event to another run.
    Tell {
        /// Which run.
        run: RunId,
        /// What to tell it.
        event: Box<Event>,
    },
    /// End another run.
    Cancel {
        /// Which run.
        run: RunId,
        /// Why, for people.
        reason: String,
        /// Set where nobody has said yet that the run exists: put it there as one that has ended, so that no start on its way begins it.
        start: Option<Box<StartRun>>,
    },
    /// Store an event for whoever listens.
    Emit {
        /// The tenant whose runs may hear it.
        namespace: Namespace,
        /// The event.
        event: Box<CloudEvent>,
    },
}

/// A run to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRun {
    /// Its id, derived from what asks for it: asking twice is asking once.
    pub run: RunId,
    /// Its tenant.
    pub namespace: Namespace,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Which version; the newest registered one unless said.
    pub version: Option<Version>,
    /// What it runs on.
    pub input: Value,
    /// Who asks.
    pub parent: Parent,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acted {
    /// It is done. With an output where the action gives one.
    Done {
        /// What it gave.
        #[serde(default)]
        output: Value,
    },
    /// The run exists.
    Started {
        /// Which.
        child: RunId,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        problem: Problem,
        /// Whether another attempt could go better.
        retryable: bool,
    },
}

/// How a run ended that another one has started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildEnd {
    /// With an output.
    Completed {
        /// What it gave.
        output: Value,
    },
    /// With an error.
    Faulted {
        /// Which.
        problem: Problem,
    },
    /// By somebody.
    Cancelled {
        /// Why.
        problem: Problem,
    },
}
