//! The parts of tasks: durations, where to go next, retries, catches, errors, authentication, budgets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::task::{Tasks, set};

/// A duration: of Rust, ISO 8601 text such as `PT5M`, or an expression `${ … }`.
#[derive(Clone, Debug)]
pub struct Length(pub(super) Value);

impl From<Duration> for Length {
    /// Whole milliseconds; what is smaller is rounded up.
    fn from(duration: Duration) -> Self {
        let mut rest = duration.as_nanos().div_ceil(1_000_000);
        let mut parts = Map::new();
        for (unit, size) in
            [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000), ("milliseconds", 1)]
        {
            // a duration that is too long stays too long, and the compiler says so
            let n = i64::try_from(rest / size).unwrap_or(i64::MAX);
            if n > 0 {
                parts.insert(unit.into(), n.into());
            }
            rest %= size;
        }
        if parts.is_empty() {
            parts.insert("seconds".into(), 0.into());
        }
        Self(Value::Object(parts))
    }
}

impl From<&str> for Length {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Where a run goes after a task. A text names a task of the same list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// To the next task.
    Continue,
    /// Out of the list.
    Exit,
    /// To the end of the run.
    End,
    /// To that task of the same list.
    Task(String),
}

impl Then {
    pub(super) fn text(self) -> String {
        match self {
            Self::Continue => "continue".into(),
            Self::Exit => "exit".into(),
            Self::End => "end".into(),
            Self::Task(name) => name,
        }
    }
}

impl From<&str> for Then {
    fn from(task: &str) -> Self {
        Self::Task(task.to_owned())
    }
}

/// Makes the methods of a policy that set one field.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident($value:ty) => $path:expr;)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, value: $value) -> Self {
            set(&mut self.0, &$path, value.into());
            self
        })*
    };
}

/// A retry policy.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Retry(pub(super) Map<String, Value>);

impl Retry {
    /// Without a delay, and with the attempts that the system allows at most.
    pub fn new() -> Self {
        Self::default()
    }

    fields! {
        /// Retried only if this holds.
        when(&str) => ["when"];
        /// Not retried if this holds.
        except_when(&str) => ["exceptWhen"];
        /// Attempts in all, the first included (`limit.attempt.count`).
        attempts(u32) => ["limit", "attempt", "count"];
    }

    /// The first delay.
    pub fn delay(self, delay: impl Into<Length>) -> Self {
        self.put(&["delay"], delay.into().0)
    }

    /// Each delay is twice the one before.
    pub fn exponential(self) -> Self {
        self.put(&["backoff"], json!({ "exponential": {} }))
    }

    /// Each delay is `factor` times the one before.
    pub fn exponential_by(self, factor: f64) -> Self {
        self.put(&["backoff"], json!({ "exponential": { "factor": factor } }))
    }

    /// Each delay is longer than the one before by the first.
    pub fn linear(self) -> Self {
        self.put(&["backoff"], json!({ "linear": {} }))
    }

    /// All delays are equal, as they are where nothing is said.
    pub fn constant(self) -> Self {
        self.put(&["backoff"], json!({ "constant": {} }))
    }

    /// Adds a random time between these to each delay.
    pub fn jitter(self, from: impl Into<Length>, to: impl Into<Length>) -> Self {
        self.put(&["jitter"], json!({ "from": from.into().0, "to": to.into().0 }))
    }

    /// How long one pass may take (`limit.attempt.duration`).
    pub fn attempt_duration(self, length: impl Into<Length>) -> Self {
        self.put(&["limit", "attempt", "duration"], length.into().0)
    }

    /// No new pass later than this after the first began (`limit.duration`).
    pub fn duration(self, length: impl Into<Length>) -> Self {
        self.put(&["limit", "duration"], length.into().0)
    }

    fn put(mut self, path: &[&str], value: Value) -> Self {
        set(&mut self.0, path, value);
        self
    }
}

/// What happens to an error of a `try`.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Catch(pub(super) Map<String, Value>);

impl Catch {
    /// Catches every error.
    pub fn new() -> Self {
        Self::default()
    }

    fields! {
        /// The variable that holds the error, without `$`; `error` unless said.
        named(&str) => ["as"];
        /// Caught only if this holds.
        when(&str) => ["when"];
        /// Not caught if this holds.
        except_when(&str) => ["exceptWhen"];
        /// The policy of the workflow that is followed first, see [`super::Workflow::retry`].
        retry_named(&str) => ["retry"];
    }

    /// Catches only errors with this type.
    pub fn error_type(self, uri: &str) -> Self {
        self.put(&["errors", "with", "type"], uri.into())
    }

    /// Catches only errors with this status.
    pub fn status(self, status: u16) -> Self {
        self.put(&["errors", "with", "status"], status.into())
    }

    /// Catches only errors whose `title`, `detail` or `instance` is this.
    pub fn with(self, field: &str, value: &str) -> Self {
        self.put(&["errors", "with", field], value.into())
    }

    /// Tries again before anything else.
    pub fn retry(self, retry: Retry) -> Self {
        self.put(&["retry"], Value::Object(retry.0))
    }

    /// What runs once no retry is left.
    pub fn tasks(self, tasks: Tasks) -> Self {
        self.put(&["do"], tasks.value())
    }

    /// Where the run goes after the error was caught.
    pub fn then(self, then: impl Into<Then>) -> Self {
        self.put(&["then"], then.into().text().into())
    }

    fn put(mut self, path: &[&str], value: Value) -> Self {
        set(&mut self.0, path, value);
        self
    }
}

/// An error to raise.
#[derive(Clone, Debug)]
#[must_use]
pub struct Problem(pub(super) Map<String, Value>);

impl Problem {
    /// With this type (a URI) and status.
    pub fn new(kind: &str, status: u16) -> Self {
        Self(Map::from_iter([("type".to_owned(), kind.into()), ("status".to_owned(), status.into())]))
    }

    fields! {
        /// What went wrong, in few words.
        title(&str) => ["title"];
        /// What went wrong this time; may be an expression.
        detail(&str) => ["detail"];
        /// Where.
        instance(&str) => ["instance"];
    }
}

/// How a call says who it is.
#[derive(Clone, Debug)]
#[must_use]
pub struct Authentication(pub(super) Value);

impl Authentication {
    /// A policy of the workflow, see [`super::Workflow::define_authentication`].
    pub fn named(name: &str) -> Self {
        Self(json!({ "use": name }))
    }

    /// By name and password.
    pub fn basic(username: &str, password: &str) -> Self {
        Self(json!({ "basic": { "username": username, "password": password } }))
    }

    /// By name and password, without sending the password.
    pub fn digest(username: &str, password: &str) -> Self {
        Self(json!({ "digest": { "username": username, "password": password } }))
    }

    /// By a token.
    pub fn bearer(token: &str) -> Self {
        Self(json!({ "bearer": { "token": token } }))
    }

    /// By OAuth 2.0; the fields are those of the standard.
    pub fn oauth2(fields: Value) -> Self {
        Self(json!({ "oauth2": fields }))
    }

    /// By OpenID Connect; the fields are those of the standard.
    pub fn oidc(fields: Value) -> Self {
        Self(json!({ "oidc": fields }))
    }

    /// All fields of `kind` (`basic`, `bearer`, `digest`, `oauth2`, `oidc`) come from this secret.
    pub fn secret(kind: &str, secret: &str) -> Self {
        let mut policy = Map::new();
        set(&mut policy, &[kind, "use"], secret.into());
        Self(Value::Object(policy))
    }
}

/// What something may spend.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Budget(pub(super) Map<String, Value>);

impl Budget {
    /// Without limits yet.
    pub fn new() -> Self {
        Self::default()
    }

    fields! {
        /// Passes of an agent's loop.
        turns(u32) => ["turns"];
        /// Tool calls of an agent.
        tool_calls(u32) => ["toolCalls"];
        /// Tokens read and written by models.
        tokens(u64) => ["tokens"];
        /// Money, in the currency of your price list.
        money(f64) => ["money"];
    }
}
