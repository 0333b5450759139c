//! What happened to a run: the records of the log, the only input of the engine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Acted, ChildEnd};
use crate::cloud::CloudEvent;
use crate::id::{CommandId, Digest, Namespace, PoolName, RunId, StepPath, TimerId, WorkflowName};
use crate::problem::Problem;
use crate::report::{Report, Usage};
use crate::task::Task;
use crate::time::Timestamp;

/// One record of the log. Its time is the log's own time of storing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Whose record it is.
    pub run: RunId,
    /// What happened.
    pub event: Event,
    /// Where the owner sends its answer after the commit, if somebody waits for one. Opaque to all but the bus adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody wants it to exist.
    Submitted(Submitted),
    /// A worker speaks. Boxed to keep the other events small.
    Report(Box<Report>),
    /// A value from outside.
    Signal {
        /// Unique; a second one with the same id is a duplicate.
        id: uuid::Uuid,
        /// What the workflow listens for.
        name: String,
        /// The value.
        data: Value,
    },
    /// A timer's time has come.
    TimerDue {
        /// Which.
        timer: TimerId,
    },
    /// Somebody wants it to end.
    Cancel {
        /// Why, for people.
        reason: String,
    },
    /// The engine asked to go on later, so that others get their turn.
    Resume {
        /// The number from [`Resume`'s command]; a repeated one is a duplicate.
        number: u64,
    },
    /// The sweeper found that the message of this dispatch is gone from its stream though nothing was reported.
    TaskLost {
        /// The dispatch.
        id: CommandId,
    },
    /// The owner has carried out what the run asked of the system, or has given it up.
    Acted {
        /// The dispatch.
        id: CommandId,
        /// What became of it.
        outcome: Acted,
    },
    /// A run that this one has started and waits for has ended.
    ChildEnded {
        /// The dispatch that started it.
        id: CommandId,
        /// Which run.
        child: RunId,
        /// How it ended.
        end: ChildEnd,
        /// What its steps used up.
        #[serde(default)]
        usage: Usage,
    },
    /// The owner could not fold an event of this run and put it aside.
    Park {
        /// What went wrong and where the event lies.
        reason: String,
    },
    /// A copy of the run's state, from which the log can be folded again. Not an event for the engine.
    Snapshot {
        /// The stored control state.
        #[serde(with = "bytes_field")]
        state: Vec<u8>,
        /// Its values: number and encoded value.
        values: Vec<(crate::id::ValueId, Value)>,
        /// All records of the partition up to this log position are in it.
        as_of: u64,
    },
    /// A CloudEvent that the run may wait for.
    Occurred(Box<Occurrence>),
}

impl Event {
    /// A word for logs and rejections.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted(_) => "submitted",
            Self::Report(_) => "report",
            Self::Signal { .. } => "signal",
            Self::TimerDue { .. } => "timer_due",
            Self::Cancel { .. } => "cancel",
            Self::Resume { .. } => "resume",
            Self::TaskLost { .. } => "task_lost",
            Self::Acted { .. } => "acted",
            Self::ChildEnded { .. } => "child_ended",
            Self::Park { .. } => "park",
            Self::Snapshot { .. } => "snapshot",
            Self::Occurred(_) => "occurred",
        }
    }
}

/// A CloudEvent and its place among the events of the installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The event.
    pub event: CloudEvent,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its sequence in the stream of events.
    pub seq: u64,
}

/// The first event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// The tenant.
    pub namespace: Namespace,
    /// The workflow, for people and indexes.
    pub workflow: WorkflowName,
    /// The definition that the run stays on.
    pub digest: Digest,
    /// What it runs on.
    pub input: Value,
    /// From which tokens are derived; random.
    #[serde(with = "bytes_field")]
    pub secret: Vec<u8>,
    /// The submitter's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The run that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The version of the engine's rules that the run stays on.
    #[serde(default = "first_rules")]
    pub engine: u32,
    /// Why it is ended before it begins: nobody wants it any more, but a start of it may be on its way. It has no effect on a run that
    /// exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<String>,
}

const fn first_rules() -> u32 {
    1
}

/// Who asked for a run: a step of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The dispatch of that step; says which run.
    pub id: CommandId,
    /// The step's place.
    pub path: StepPath,
    /// How many runs are above: 1 where the parent was started by nobody's step.
    pub depth: u32,
    /// Whether the step waits for the end.
    pub waits: bool,
}

/// A task or an event that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The pool whose task it was; none for an event of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// The run.
    pub run: RunId,
    /// Why it was given up.
    pub problem: Problem,
    /// The task, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The record, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<LogRecord>>,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// Bytes as MessagePack `bin`, not as an array of numbers.
mod bytes_field {
    use serde::{Deserializer, Serializer};

    #[allow(clippy::ptr_arg, reason = "serde's `with` hands over the field's own type")]
    pub(super) fn serialize<S: Serializer>(v: &Vec<u8>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(v)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, b: &[u8]) -> Result<Vec<u8>, E> {
                Ok(b.to_vec())
            }
            fn visit_byte_buf<E>(self, b: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(b)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut a: A) -> Result<Vec<u8>, A::Error> {
                let mut v = Vec::new();
                while let Some(b) = a.next_element()? {
                    v.push(b);
                }
                Ok(v)
            }
        }
        d.deserialize_byte_buf(V)
    }
}
