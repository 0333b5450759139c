//! What a worker may ask the owner of a run, and the answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AttemptNo, CommandId, TaskToken, ValueId};
use crate::problem::Problem;
use crate::time::Millis;

/// A question to the owner of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskRequest {
    /// A task came again (or may have): should it be run?
    MayRun {
        /// The task.
        id: CommandId,
        /// Its token.
        token: TaskToken,
    },
    /// Give me the value that a task refers to.
    Value {
        /// The task that refers to it.
        id: CommandId,
        /// Its token.
        token: TaskToken,
        /// The value's number.
        value: ValueId,
    },
}

/// The owner's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskAnswer {
    /// To `MayRun`.
    MayRun(MayRun),
    /// To `Value`.
    Value(Value),
    /// The question cannot be answered.
    Refused(Problem),
}

/// Whether a task that came again should be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MayRun {
    /// Yes, as this attempt.
    Run {
        /// The number to report under.
        attempt: AttemptNo,
    },
    /// Not before this long from now; give it back with that delay.
    Wait {
        /// How long.
        delay: Millis,
    },
    /// Its result is known: ack it.
    Done,
    /// Nobody waits for it any more: ack it.
    Stale,
}
