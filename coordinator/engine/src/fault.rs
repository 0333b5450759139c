//! An error on its way up through the frames, until a `try` catches it or the run ends with it.

use stepmill_definition::expression::ExpressionError;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Millis, Problem, StepPath};

use crate::values::TooMuch;

/// Characters of an error's own text that are kept when the whole of it is too large to be held.
const DETAIL_CHARS: usize = 4096;

/// An error, and what a retry must know about it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    /// A worker said that another attempt cannot go better.
    pub(crate) terminal: bool,
    /// A worker asked for at least this delay before another attempt.
    pub(crate) retry_after: Millis,
    /// Attempts that this failure used up: more than one when the broker redelivered.
    pub(crate) attempts: u32,
}

impl Fault {
    pub(crate) fn new(problem: Problem) -> Self {
        Self { problem, terminal: false, retry_after: Millis(0), attempts: 1 }
    }

    pub(crate) fn standard(kind: Standard, detail: impl Into<String>) -> Self {
        Self::new(Problem::standard(kind, detail))
    }

    /// A limit of the system was reached; trying again would reach it again.
    pub(crate) fn limit(detail: impl Into<String>) -> Self {
        Self { terminal: true, ..Self::standard(Standard::Runtime, detail) }
    }

    /// The same fault with its place, unless it has one.
    pub(crate) fn at(mut self, path: &StepPath) -> Self {
        if self.problem.instance.is_none() {
            self.problem.instance = Some(path.0.as_ref().into());
        }
        self
    }
}

impl From<ExpressionError> for Fault {
    fn from(e: ExpressionError) -> Self {
        Self::standard(Standard::Expression, e.to_string())
    }
}

impl From<TooMuch> for Fault {
    fn from(e: TooMuch) -> Self {
        Self { terminal: true, ..Self::new(e.into()) }
    }
}

/// The same problem, small enough to be held: the texts are cut, and it says so.
pub(crate) fn shortened(problem: &Problem) -> Problem {
    let cut = |s: &str| s.chars().take(DETAIL_CHARS).collect::<String>();
    let detail = problem.detail.as_deref().unwrap_or_default();
    Problem {
        kind: cut(&problem.kind),
        status: problem.status,
        title: cut(&problem.title),
        detail: Some(format!("{} (cut: the error was larger than a value may be)", cut(detail))),
        instance: problem.instance.as_deref().map(cut),
        extra: None,
    }
}
