//! What a handler sees of the attempt that it makes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use stepmill_protocol::{
    AttemptNo, CommandId, Namespace, Pass, PoolName, Problem, RunId, StepKind, StepPath, Task, Timestamp, Usage,
    WorkflowName,
};
use tokio_util::sync::CancellationToken;

use crate::secret::Revealed;
use crate::{clock, limit};

/// One attempt, as its handler sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: CommandId,
    key: String,
    namespace: Namespace,
    workflow: WorkflowName,
    path: StepPath,
    kind: StepKind,
    pool: PoolName,
    attempt: AttemptNo,
    deadline: Option<Timestamp>,
    cancel: CancellationToken,
    progress: Mutex<Option<String>>,
    usage: Mutex<Usage>,
    revealed: OnceLock<Revealed>,
    obtained: Mutex<Revealed>,
}

impl Context {
    pub(crate) fn new(task: &Task, attempt: AttemptNo, cancel: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                id: task.id,
                key: task.idempotency_key(),
                namespace: task.namespace.clone(),
                workflow: task.workflow.clone(),
                path: task.path.clone(),
                kind: task.kind.clone(),
                pool: task.pool.clone(),
                attempt,
                deadline: task.deadline,
                cancel,
                progress: Mutex::default(),
                usage: Mutex::default(),
                revealed: OnceLock::new(),
                obtained: Mutex::default(),
            }),
        }
    }

    /// The same for every attempt at this visit of the step, and for no other: hand it to whatever must happen once.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.shared.key
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.shared.id.run
    }

    /// The dispatch that brought the task here.
    #[must_use]
    pub fn command(&self) -> CommandId {
        self.shared.id
    }

    /// The tenant.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// The workflow.
    #[must_use]
    pub fn workflow(&self) -> &WorkflowName {
        &self.shared.workflow
    }

    /// The place in the plan.
    #[must_use]
    pub fn path(&self) -> &StepPath {
        &self.shared.path
    }

    /// The kind of step.
    #[must_use]
    pub fn kind(&self) -> &StepKind {
        &self.shared.kind
    }

    /// The pool that the task came from.
    #[must_use]
    pub fn pool(&self) -> &PoolName {
        &self.shared.pool
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> AttemptNo {
        self.shared.attempt
    }

    /// Which block retry this is, from 0.
    #[must_use]
    pub fn pass(&self) -> Pass {
        self.shared.id.pass
    }

    /// When the step's timeout ends it.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.shared.deadline
    }

    /// How much time is left before the deadline; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.shared.deadline.map(|end| end.since(clock::now()).into())
    }

    /// Fires when the result no longer matters here: the deadline has passed, or the worker's grace time is over. The
    /// handler's own future is dropped then; hand this to work that it has started elsewhere.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.shared.cancel
    }

    /// Whether [`Context::cancellation`] has fired.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }

    /// Notes how far the handler is. Only the last note is kept, cut to 256 bytes; the error of a step that runs into
    /// its timeout quotes it.
    pub fn progress(&self, note: impl Into<String>) {
        let mut note = note.into();
        note.truncate(note.floor_char_boundary_at(limit::PROGRESS_BYTES_MAX));
        *self.shared.progress.lock() = Some(note);
    }

    /// The last note.
    #[must_use]
    pub fn last_progress(&self) -> Option<String> {
        self.shared.progress.lock().clone()
    }

    /// Adds to what the attempt used up; reported whether it succeeds or fails.
    pub fn add_usage(&self, usage: Usage) {
        self.shared.usage.lock().add(usage);
    }

    /// What the attempt used up so far; `None` where that is nothing.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let usage = *self.shared.usage.lock();
        (usage != Usage::default()).then_some(usage)
    }
}

impl Context {
    /// Remembers which secrets the input was given.
    pub(crate) fn reveal(&self, revealed: Revealed) {
        // The input is filled once, before the handler starts.
        let _ = self.shared.revealed.set(revealed);
    }

    /// Remembers a secret that came up during the attempt, as the token that an authority gave.
    pub(crate) fn keep_secret(&self, name: &str, value: &str) {
        self.shared.obtained.lock().add(name, value);
    }

    /// Hides all secrets in the error that an attempt ends with.
    pub(crate) fn hide_in(&self, problem: &mut Problem) {
        if let Some(revealed) = self.shared.revealed.get() {
            revealed.hide(problem);
        }
        self.shared.obtained.lock().hide(problem);
    }

    /// Replaces the values of secrets that the input was given wherever `value` repeats them, so that it can be
    /// returned or logged. Errors are treated like this by the worker itself; results are not.
    #[must_use]
    pub fn hide_secrets(&self, mut value: Value) -> Value {
        if let Some(revealed) = self.shared.revealed.get() {
            revealed.hide_in(&mut value);
        }
        self.shared.obtained.lock().hide_in(&mut value);
        value
    }
}

/// `str::floor_char_boundary` is newer than our compiler floor.
pub(crate) trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|i| self.is_char_boundary(*i)).unwrap_or(0)
    }
}

/// The beginning of a foreign text, for an error.
pub(crate) fn quote(text: &str) -> String {
    let end = text.floor_char_boundary_at(limit::QUOTE_BYTES_MAX);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_cut_between_characters() {
        let text = "ä".repeat(limit::QUOTE_BYTES_MAX);
        let cut = quote(&text);
        assert_eq!(cut.chars().count(), limit::QUOTE_BYTES_MAX / 2 + 1);
        assert_eq!("äx".floor_char_boundary_at(1), 0);
        assert_eq!(quote("short"), "short");
    }
}
