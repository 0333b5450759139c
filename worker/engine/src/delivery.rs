//! The facts at the arrival of a task.

use stepmill_protocol::link::Undecodable;
use stepmill_protocol::{
    AttemptNo, CommandId, Payload, RetryPolicy, StepKind, StepPath, Task, TaskToken, Timestamp, ValueId,
};

/// What is known when a message arrives.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// The task, or why there is none.
    pub task: Result<&'a Task, &'a Undecodable>,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    /// The owner published it again after a takeover or a loss.
    pub again: bool,
    /// The kinds that this worker serves.
    pub served: &'a [StepKind],
    /// This worker's name, for people.
    pub worker: &'a str,
}

/// What the decisions need of a task and its delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The dispatch.
    pub id: CommandId,
    /// The place in the plan.
    pub path: StepPath,
    /// To be echoed.
    pub token: TaskToken,
    /// The attempt that is made.
    pub attempt: AttemptNo,
    /// Present when a failed attempt may be redelivered.
    pub retry: Option<RetryPolicy>,
    /// The end of the step's timeout.
    pub deadline: Option<Timestamp>,
    /// The value to fetch before it can run.
    pub value: Option<ValueId>,
    /// How often it was delivered.
    pub deliveries: u64,
    /// The kind, where this worker does not serve it, and the kinds that it does serve.
    pub unserved: Option<Unserved>,
    /// This worker's name.
    pub worker: String,
}

/// A kind that has no handler here.
#[derive(Clone, Debug, PartialEq)]
pub struct Unserved {
    /// The kind.
    pub kind: StepKind,
    /// The pool.
    pub pool: String,
    /// The kinds that have one.
    pub served: Vec<StepKind>,
}

impl Subject {
    /// The part of an arrival that the decisions need.
    #[must_use]
    pub fn of(task: &Task, arrival: &Arrival<'_>) -> Self {
        let unserved = (!arrival.served.contains(&task.kind)).then(|| Unserved {
            kind: task.kind.clone(),
            pool: task.pool.to_string(),
            served: arrival.served.to_vec(),
        });
        Self {
            id: task.id,
            path: task.path.clone(),
            token: task.token,
            attempt: task.attempt,
            retry: task.retry.clone(),
            deadline: task.deadline,
            value: match &task.input {
                Payload::Inline(_) => None,
                Payload::Ref { id, .. } => Some(*id),
            },
            deliveries: arrival.deliveries,
            unserved,
            worker: arrival.worker.to_owned(),
        }
    }
}
