//! What came of a case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use stepmill_definition::{Mistake, Place};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{Millis, Priority, Problem};

use crate::coverage::Key;
use crate::difference::Difference;

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The case's name.
    pub case: String,
    /// Where it stands.
    pub place: Place,
    /// What is not as expected; none where it passed.
    pub failures: Vec<Failure>,
    /// What its author should look at.
    pub warnings: Vec<Mistake>,
    /// What is known at the end.
    pub facts: Facts,
    /// Mocks of the file that were used.
    pub(crate) used: BTreeSet<String>,
    pub(crate) hits: BTreeMap<Key, u64>,
}

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// What kind, for instance `output` or `not-mocked`.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// Where values differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What to do, or what to know.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Where the expectation stands.
    #[serde(skip)]
    pub place: Place,
}

/// What is known of a run at its end. `expect.holds` sees it in its JSON form.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Where it stands; none where the submission was refused.
    pub state: Option<RunState>,
    /// What it gave.
    pub output: Option<Value>,
    /// The error that it ended with.
    pub error: Option<Problem>,
    /// `$context`, of a step that was run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    /// The steps that were entered, in order; each attempt counts.
    pub path: Vec<String>,
    /// What each `switch` chose, as `step: case`.
    pub chose: Vec<String>,
    /// What was asked of workers, in order; each attempt counts.
    pub commands: Vec<Sent>,
    /// The events that it emitted, in order.
    pub emitted: Vec<Value>,
    /// Attempts by step.
    pub attempts: BTreeMap<String, u64>,
    /// Calls to a model.
    pub model_calls: u32,
    /// Tokens read by it.
    pub tokens_in: u64,
    /// Tokens written by it.
    pub tokens_out: u64,
    /// How long it took, in virtual time.
    pub took_ms: Millis,
    /// Where it still waits, and for what.
    pub waits_for: Vec<String>,
}

/// One attempt that was asked of a worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// The step.
    pub step: String,
    /// What is called.
    pub call: String,
    /// The pool it was sent to.
    pub pool: String,
    /// Its priority there.
    pub priority: Priority,
    /// Its input; a secret shows as `<secret NAME>`.
    pub input: Value,
    /// The number of the attempt.
    pub attempt: u32,
    /// How long after the submission.
    #[serde(rename = "atMs")]
    pub at: Millis,
}

impl Outcome {
    /// Whether all was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Ends a test with what is not as expected.
    ///
    /// # Panics
    /// Where the case did not pass.
    pub fn assert(&self) {
        assert!(self.passed(), "{self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case `{}` ", self.case)?;
        if self.passed() {
            return f.write_str("passed");
        }
        f.write_str("failed:")?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n- {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for difference in &self.differences {
            write!(f, "\n  {difference}")?;
        }
        for line in self.help.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl Failure {
    pub(crate) fn new(code: &'static str, place: &Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { code, message, differences: Vec::new(), help, place: place.clone() }
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        let place = Place { span: mistake.span, path: mistake.path };
        Self { code: mistake.code, message: mistake.message, differences: Vec::new(), help: mistake.help, place }
    }
}
