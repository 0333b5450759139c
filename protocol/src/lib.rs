//! The contract between coordinators, workers and clients: identifiers, messages, limits and the ports that
//! adapters implement. Pure: no clock, no randomness, no I/O. Everything that crosses a process border is here.

pub mod action;
pub mod api;
pub mod ask;
pub mod client;
pub mod cloud;
pub mod codec;
pub mod event;
pub mod id;
pub mod limit;
pub mod link;
pub mod operate;
pub mod problem;
pub mod report;
pub mod retry;
pub mod task;
pub mod time;

pub use action::{Acted, ChildEnd, StartRun, SystemAction};
pub use ask::{AskAnswer, AskRequest, MayRun};
pub use client::Client;
pub use cloud::CloudEvent;
pub use event::{DeadLetter, Event, LogRecord, Occurrence, Parent, Submitted};
pub use id::{
    AttemptNo, CommandId, Digest, Namespace, PartitionNo, Pass, PoolName, Priority, RunId, StepKind, StepPath,
    TaskToken, TimerId, ValueId, Version, Visit, WorkflowName,
};
pub use operate::{Act, Hold, Operation, Scope, Target};
pub use problem::Problem;
pub use report::{Report, ReportOutcome, Usage};
pub use retry::RetryPolicy;
pub use task::{Payload, SecretScope, Task};
pub use time::{Millis, Timestamp};

/// A JSON value: what steps take and give.
pub use serde_json::Value;
