//! What operators do to runs: records of the log like all others, with who did it and why.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{Namespace, PoolName, RunId, StepPath, WorkflowName};
use crate::time::Timestamp;

/// One act of an operator on one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Unique; a second one with the same id is a duplicate.
    pub id: uuid::Uuid,
    /// Who, for people.
    #[serde(default)]
    pub by: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
    /// What.
    pub act: Act,
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Ends the run at once: nothing is cleaned up or undone.
    Terminate,
    /// Nothing new begins until [`Act::Unpause`].
    Pause,
    /// Goes on: after a pause, or where the run was put aside.
    Unpause,
    /// Does a failed step again, as a new visit.
    Rerun {
        /// Which.
        step: Target,
        /// What it gets instead of what it got.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Value>,
    },
    /// Goes on behind a step that waits or has failed, as if it had been left out.
    Skip {
        /// Which.
        step: Target,
        /// What flows on.
        #[serde(default)]
        output: Value,
    },
    /// Gives a step that waits or has failed its result.
    Set {
        /// Which.
        step: Target,
        /// What it gave.
        output: Value,
    },
    /// Holds back the tasks of many runs, until [`Act::Release`].
    Hold {
        /// Of which.
        scope: Scope,
    },
    /// Lets them go.
    Release {
        /// Of which.
        scope: Scope,
    },
}

impl Act {
    /// A word for histories and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Rerun { .. } => "rerun",
            Self::Skip { .. } => "skip",
            Self::Set { .. } => "set",
            Self::Hold { .. } => "hold",
            Self::Release { .. } => "release",
        }
    }

    /// Whose tasks it is about.
    #[must_use]
    pub const fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Hold { scope } | Self::Release { scope } => Some(scope),
            Self::Terminate
            | Self::Pause
            | Self::Unpause
            | Self::Rerun { .. }
            | Self::Skip { .. }
            | Self::Set { .. } => None,
        }
    }

    /// The step that it is about.
    #[must_use]
    pub const fn step(&self) -> Option<&Target> {
        match self {
            Self::Terminate | Self::Pause | Self::Unpause | Self::Hold { .. } | Self::Release { .. } => None,
            Self::Rerun { step, .. } | Self::Skip { step, .. } | Self::Set { step, .. } => Some(step),
        }
    }
}

/// A step of a run, where it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its place in the definition.
    pub path: StepPath,
    /// Which of several tokens that are there, by the number that the refusal names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// Whose tasks are held back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Of all runs of a namespace.
    Namespace {
        /// Which.
        namespace: Namespace,
    },
    /// Of all runs of a workflow.
    Workflow {
        /// Its namespace.
        namespace: Namespace,
        /// Which.
        workflow: WorkflowName,
    },
    /// Of a pool, whoever's they are.
    Pool {
        /// Which.
        pool: PoolName,
    },
}

impl Scope {
    /// The scope as one word.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Namespace { namespace } => format!("namespace/{namespace}"),
            Self::Workflow { namespace, workflow } => format!("workflow/{namespace}/{workflow}"),
            Self::Pool { pool } => format!("pool/{pool}"),
        }
    }

    /// Under this id its records stand in the log, as if it were a run.
    #[must_use]
    pub fn id(&self) -> RunId {
        RunId(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("hold/{}", self.text()).as_bytes()))
    }
}

/// Tasks are held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose.
    pub scope: Scope,
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}
