//! The message that asks a worker to make an attempt at a step.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{
    AttemptNo, CommandId, Namespace, PartitionNo, PoolName, Priority, RunId, StepKind, StepPath, TaskToken, ValueId,
    WorkflowName,
};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// A task as it lies in the pool's stream (MessagePack map).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Which dispatch this is; also says run, visit and pass.
    pub id: CommandId,
    /// The tenant.
    pub namespace: Namespace,
    /// The workflow that the run belongs to.
    pub workflow: WorkflowName,
    /// The partition that owns the run: reports and questions go there.
    pub partition: PartitionNo,
    /// The place in the plan.
    pub path: StepPath,
    /// The number of the attempt that this task asks for (on its first delivery).
    pub attempt: AttemptNo,
    /// To be echoed in each report.
    pub token: TaskToken,
    /// What to run.
    pub kind: StepKind,
    /// The pool it was sent to.
    pub pool: PoolName,
    /// Its priority there.
    #[serde(default)]
    pub priority: Priority,
    /// What to run it on.
    pub input: Payload,
    /// The moment at which the step's timeout ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Present when the worker may have a failed attempt redelivered by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Present when the input holds references to secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretScope>,
}

impl Task {
    /// The run that the task belongs to.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.id.run
    }

    /// The key that goes to handlers, HTTP calls and tools.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.id.idempotency_key(&self.path)
    }
}

/// A value, or where to get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// The value itself.
    Inline(Value),
    /// A value that the run's owner keeps; ask for it with [`crate::AskRequest::Value`].
    Ref {
        /// Its number in the run.
        id: ValueId,
        /// Its encoded size in bytes.
        bytes: u64,
    },
}

/// Which secrets an input refers to. A reference is the text `mark` + name + `mark`'s last character, see
/// [`SecretScope::reference`]; the mark is derived from the run's secret, so data from outside cannot forge one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretScope {
    /// The text before each secret's name.
    pub mark: String,
    /// The names that the definition declares in `use.secrets`.
    pub names: Vec<String>,
}

impl SecretScope {
    /// The text that stands for the secret `name` until a worker puts the value in.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}{}\u{2063}", self.mark, name)
    }
}
