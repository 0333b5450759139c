//! What can go wrong between us and a model, by kind, and the problem that a workflow can catch for each.

use serde::{Deserialize, Serialize};
use serde_json::json;
use stepmill_protocol::{Millis, Problem};

/// A call to a model that brought no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelError {
    /// What kind of thing went wrong.
    pub kind: ModelErrorKind,
    /// What happened, and what to do about it. Holds no key.
    pub detail: String,
    /// The status that the service answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Not before this long from now, as the service asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Millis>,
}

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelErrorKind {
    /// Too many requests or tokens.
    RateLimit,
    /// The account has no money or quota left; waiting does not help.
    Quota,
    /// The service has too much to do.
    Overloaded,
    /// The service failed.
    Unavailable,
    /// The service cannot be reached, or the connection broke before an answer began.
    Unreachable,
    /// No answer in time: the whole call, its first token or the next part of a stream.
    Timeout,
    /// The stream broke off in the middle of an answer.
    CutStream,
    /// The answer has another form than the wire format says.
    Unreadable,
    /// The model declined, or a filter stopped it.
    Refused,
    /// The conversation is longer than the model's window.
    ContextTooLong,
    /// The answer had as many tokens as it may, before its end.
    Truncated,
    /// The answer is not the JSON that was asked for.
    Malformed,
    /// The answer is JSON and does not fit its schema.
    Mismatch,
    /// The key is missing or wrong.
    Authentication,
    /// The key may not do this.
    Permission,
    /// There is no such model or address.
    NotFound,
    /// The service refuses the request as it is.
    BadRequest,
    /// A cassette is replayed and does not hold this request.
    NotRecorded,
}

impl ModelErrorKind {
    /// Name in the type URI, status unless the service gave one, title, and whether another attempt could go better.
    #[must_use]
    pub const fn parts(self) -> (&'static str, u16, &'static str, bool) {
        match self {
            Self::RateLimit => ("rate-limit", 429, "Too many requests to the model", true),
            Self::Quota => ("quota", 429, "The model's quota is used up", false),
            Self::Overloaded => ("overloaded", 503, "The model is overloaded", true),
            Self::Unavailable => ("unavailable", 502, "The model's service failed", true),
            Self::Unreachable => ("unreachable", 502, "The model's service cannot be reached", true),
            Self::Timeout => ("timeout", 408, "The model did not answer in time", true),
            Self::CutStream => ("cut-stream", 502, "The model's answer broke off", true),
            Self::Unreadable => ("unreadable", 502, "The model's answer cannot be read", true),
            Self::Refused => ("refused", 422, "The model declined", false),
            Self::ContextTooLong => ("context-too-long", 400, "The conversation is too long for the model", false),
            Self::Truncated => ("truncated", 422, "The model's answer was cut", false),
            Self::Malformed => ("malformed", 422, "The model's answer is not JSON", true),
            Self::Mismatch => ("mismatch", 422, "The model's answer does not fit its schema", true),
            Self::Authentication => ("authentication", 401, "The model's service does not know the key", false),
            Self::Permission => ("permission", 403, "The key may not use the model", false),
            Self::NotFound => ("not-found", 404, "There is no such model", false),
            Self::BadRequest => ("bad-request", 400, "The model's service refuses the request", false),
            Self::NotRecorded => ("not-recorded", 404, "The cassette does not hold this request", false),
        }
    }
}

impl ModelError {
    /// An error with nothing but its kind and what happened.
    #[must_use]
    pub fn new(kind: ModelErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), status: None, retry_after: None }
    }

    /// The same error with the status that the service answered with.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Whether another attempt at the same request could go better.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.kind.parts().3
    }

    /// Whether the answer was paid for: it came, and could not be used.
    #[must_use]
    pub const fn has_cost(&self) -> bool {
        use ModelErrorKind as Kind;
        match self.kind {
            Kind::Refused | Kind::Truncated | Kind::Malformed | Kind::Mismatch | Kind::CutStream => true,
            Kind::RateLimit
            | Kind::Quota
            | Kind::Overloaded
            | Kind::Unavailable
            | Kind::Unreachable
            | Kind::Timeout
            | Kind::Unreadable
            | Kind::ContextTooLong
            | Kind::Authentication
            | Kind::Permission
            | Kind::NotFound
            | Kind::BadRequest
            | Kind::NotRecorded => false,
        }
    }

    /// What a workflow can catch: `https://stepmill.dev/errors/model/<kind>`.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (name, status, title, _) = self.kind.parts();
        let status = self.status.filter(|s| (400..600).contains(s)).unwrap_or(status);
        let mut problem = Problem::own(&format!("model/{name}"), status, title, self.detail.clone());
        problem.extra = self.retry_after.map(|wait| json!({ "retry_after_ms": wait.0 }));
        problem
    }
}

impl std::fmt::Display for ModelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.parts().2, self.detail)
    }
}

impl std::error::Error for ModelError {}
