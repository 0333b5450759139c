//! What operators do to runs: records of the log like all others, with who did it and why.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::StepPath;

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
        }
    }

    /// The step that it is about.
    #[must_use]
    pub const fn step(&self) -> Option<&Target> {
        match self {
            Self::Terminate | Self::Pause | Self::Unpause => None,
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
