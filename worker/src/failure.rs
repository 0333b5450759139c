//! How a handler says that it failed, and what follows from it: another attempt, or none.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;
use stepmill_worker_engine::Fault;

/// A failed attempt. Whether there will be another one is said by type, not by text: every error that comes through
/// `?` is retryable, [`Failure::terminal`] and [`ResultExt::terminal`] end the step.
///
/// ```
/// use stepmill_worker::{Failure, ResultExt};
///
/// fn charge(card: &str) -> Result<u64, Failure> {
///     let amount: u64 = std::fs::read_to_string("/amount")?.trim().parse().terminal()?;
///     if card.is_empty() {
///         return Err(Failure::terminal("there is no card"));
///     }
///     Ok(amount)
/// }
/// ```
// It does not implement `Error` itself, so that `?` can turn every `Error` into it. Boxed to keep results small.
pub struct Failure(Box<Inner>);

struct Inner {
    problem: Problem,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that another attempt may mend.
    #[must_use]
    pub fn retryable(text: impl fmt::Display) -> Self {
        Self::new(Problem::standard(Standard::Runtime, text.to_string()), true)
    }

    /// A failure that every attempt would meet again.
    #[must_use]
    pub fn terminal(text: impl fmt::Display) -> Self {
        Self::new(Problem::standard(Standard::Runtime, text.to_string()), false)
    }

    /// A failure with a problem of your own, which the definition's `catch` can match.
    #[must_use]
    pub fn new(problem: Problem, retryable: bool) -> Self {
        Self(Box::new(Inner { problem, retryable, retry_after: None }))
    }

    /// The same failure, not to be tried again before `delay` has passed.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same failure with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.problem.status = status;
        self
    }

    /// The same failure with more to say, for programs.
    #[must_use]
    pub fn with_extra(mut self, extra: Value) -> Self {
        self.0.problem.extra = Some(extra);
        self
    }

    /// The same failure, ending the step.
    #[must_use]
    pub fn into_terminal(mut self) -> Self {
        self.0.retryable = false;
        self.0.retry_after = None;
        self
    }

    /// Why.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Whether another attempt could go better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The delay that was asked for.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn problem_mut(&mut self) -> &mut Problem {
        &mut self.0.problem
    }

    pub(crate) fn into_fault(self) -> Fault {
        let Inner { problem, retryable, retry_after } = *self.0;
        Fault { problem, retryable, retry_after: retry_after.map(Into::into) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.retryable { "retryable" } else { "terminal" };
        write!(f, "Failure({kind}, {})", self.0.problem)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.problem.fmt(f)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        if let Some(problem) = (&error as &dyn Any).downcast_ref::<Problem>() {
            return Self::new(problem.clone(), true);
        }
        Self::retryable(with_sources(&error))
    }
}

/// Says on a result that its error ends the step.
pub trait ResultExt<T> {
    /// Makes the error a terminal failure.
    ///
    /// # Errors
    /// The same error, as a terminal [`Failure`].
    fn terminal(self) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> ResultExt<T> for Result<T, E> {
    fn terminal(self) -> Result<T, Failure> {
        self.map_err(|e| e.into().into_terminal())
    }
}

/// An error's text followed by those of its sources, as far as they add something.
#[must_use]
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_retryable_unless_said_otherwise() {
        fn parse(s: &str) -> Result<u8, Failure> {
            Ok(s.parse::<u8>()?)
        }
        let failure = parse("x").unwrap_err();
        assert!(failure.is_retryable());
        assert!(failure.to_string().contains("invalid digit"), "{failure}");
        let failure = "x".parse::<u8>().terminal().unwrap_err();
        assert!(!failure.is_retryable());
    }

    #[test]
    fn a_problem_keeps_its_kind() {
        let give = || -> Result<(), Failure> { Err(Problem::own("card-declined", 402, "Card declined", "no money"))? };
        let failure = give().unwrap_err();
        assert_eq!(failure.problem().status, 402);
        assert!(failure.is_retryable());
        let failure = Err::<(), _>(failure.retry_after(Duration::from_secs(3))).terminal().unwrap_err();
        assert_eq!((failure.is_retryable(), failure.delay()), (false, None));
    }

    #[test]
    fn sources_are_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the order")]
        struct Outer(#[source] std::io::Error);
        let failure = Failure::from(Outer(std::io::Error::other("disk on fire")));
        assert!(failure.to_string().contains("cannot read the order: disk on fire"), "{failure}");
    }
}
