//! Requests and answers of the API. The same types serve NATS (`sm.api.<namespace>.<verb>`), HTTP
//! (`POST /api/<namespace>/<verb>`) and in-process callers, as JSON or MessagePack. An error is a [`crate::Problem`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud::CloudEvent;
use crate::id::{AttemptNo, Digest, Namespace, RunId, StepKind, StepPath, Version, WorkflowName};
use crate::problem::Problem;
use crate::report::Usage;
use crate::time::{Millis, Timestamp};

/// The verbs of the API.
pub mod verb {
    /// Registers a definition.
    pub const DEFINE: &str = "define";
    /// Starts a run.
    pub const SUBMIT: &str = "submit";
    /// Shows a run.
    pub const GET: &str = "get";
    /// Shows a run when it has ended.
    pub const RESULT: &str = "result";
    /// Lists runs.
    pub const LIST: &str = "list";
    /// Ends a run.
    pub const CANCEL: &str = "cancel";
    /// Hands a value to a run.
    pub const SIGNAL: &str = "signal";
    /// Shows what happened to a run.
    pub const HISTORY: &str = "history";
    /// Takes an event in.
    pub const EVENT: &str = "event";
    /// Shows a run's life-cycle events.
    pub const LIFE: &str = "life";
    /// Every verb, in the order of `docs/protocol.md`.
    pub const ALL: [&str; 10] = [DEFINE, SUBMIT, GET, RESULT, LIST, CANCEL, SIGNAL, HISTORY, EVENT, LIFE];
}

/// `define`: registers a definition. The namespace in the document must be the one that is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefineRequest {
    /// YAML or JSON text.
    pub source: String,
}

/// Answer to `define`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DefineResponse {
    /// The definition's address.
    pub digest: Digest,
    /// Its name.
    pub workflow: WorkflowName,
    /// Its version.
    pub version: Version,
    /// False when it was registered before.
    pub created: bool,
}

/// `submit`: starts a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// Which workflow.
    pub workflow: WorkflowName,
    /// Which version; the newest registered one unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What it runs on; `null` unless said.
    #[serde(default)]
    pub input: Value,
    /// Submissions with the same key are one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Answer to `submit`, given once the run is committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubmitResponse {
    /// The run.
    pub run: RunId,
    /// False when the idempotency key had been seen before.
    pub created: bool,
}

/// `get` and `result`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// Which run.
    pub run: RunId,
    /// `get`: answer as soon as the run's revision is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_rev: Option<u64>,
    /// How long to wait for that (`get`) or for the end (`result`), in milliseconds; at most a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<Millis>,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// On its way.
    Running,
    /// Ended with an output.
    Completed,
    /// Ended with an error.
    Faulted,
    /// Ended by somebody.
    Cancelled,
    /// Put aside: one of its events could not be folded. A person must look.
    Parked,
}

impl RunState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Running, Self::Completed, Self::Faulted, Self::Cancelled, Self::Parked];

    /// The word in JSON, indexes and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Faulted => "faulted",
            Self::Cancelled => "cancelled",
            Self::Parked => "parked",
        }
    }

    /// Whether nothing more will happen to the run by itself (a parked run has not ended).
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Faulted | Self::Cancelled)
    }
}

/// A run as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    pub run: RunId,
    /// Its tenant.
    pub namespace: Namespace,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The version it stays on.
    pub version: Version,
    /// The definition it stays on.
    pub digest: Digest,
    /// Where it is.
    pub state: RunState,
    /// Counts the events that changed it.
    pub rev: u64,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What it gave, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it faulted, was cancelled or parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// The steps it is at now.
    #[serde(default)]
    pub live: Vec<StepView>,
    /// Steps finished by workers so far.
    pub steps_done: u64,
    /// Attempts that failed so far.
    pub attempts_failed: u64,
    /// What its steps used up so far.
    #[serde(default)]
    pub usage: Usage,
    /// The step of another run that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentView>,
}

/// The step that started a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Of which run.
    pub run: RunId,
    /// Its place.
    pub path: StepPath,
}

/// A step that a run is at now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its place.
    pub path: StepPath,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// The attempt under way or next, for a step that workers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptNo>,
    /// What kind of step workers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StepKind>,
    /// When the wait ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The run that it has started, or is about to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<RunId>,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// A worker's report.
    Report,
    /// The time of its next attempt.
    Retry,
    /// A `wait` to pass.
    Time,
    /// An event that it listens for.
    Event,
    /// Its turn: the run passed many steps in one go and lets others go first.
    Turn,
}

/// `list`: runs of the namespace, newest submission first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListRequest {
    /// Only of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only submitted at or after this.
    pub from: Option<Timestamp>,
    /// Only submitted before this.
    pub to: Option<Timestamp>,
    /// Rows at most; 50 unless said.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Answer to `list`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListResponse {
    /// The rows, without outputs and live steps.
    pub runs: Vec<RunView>,
    /// Hand it in as `cursor` to get the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `cancel`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Which run.
    pub run: RunId,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// `signal`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// Which run.
    pub run: RunId,
    /// The signal's name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub data: Value,
    /// Unique id; a second signal with it is a duplicate. Chosen by the server unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<uuid::Uuid>,
}

/// Answer to `cancel` and `signal`, given once it is committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The run.
    pub run: RunId,
    /// False when it changed nothing (already ended, duplicate).
    pub applied: bool,
    /// Why it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Answer to `event` (whose request is a CloudEvent in the structured form), given once the event is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventResponse {
    /// The event's `id`.
    pub id: String,
    /// Its `source`.
    pub source: String,
    /// False when one with the same source and id had been stored before.
    pub created: bool,
}

/// `history`: what the log holds of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryRequest {
    /// Which run.
    pub run: RunId,
    /// Only entries after this log position.
    #[serde(default)]
    pub after: u64,
    /// Entries at most; 100 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Answer to `history`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryResponse {
    /// The entries, oldest first.
    pub entries: Vec<HistoryEntry>,
}

/// `life`: a run's life-cycle events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifeRequest {
    /// Which run.
    pub run: RunId,
    /// Only events after the one with this `sequence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Events at most; 100 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Answer to `life`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LifeResponse {
    /// The events, oldest first.
    pub events: Vec<CloudEvent>,
}

/// One record of the log, for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its place in the log.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// What happened, in the words of `docs/protocol.md`.
    pub event: String,
    /// The record.
    pub record: Value,
}

/// What the owner answers, after the commit, to whoever waits for a record to be folded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Folded {
    /// It changed the run.
    Applied,
    /// It changed nothing, and that is in order (a duplicate, too late).
    Ignored {
        /// Why, as a sentence.
        note: String,
    },
    /// It could not be done.
    Refused(Problem),
}
