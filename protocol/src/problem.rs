//! Errors as data: RFC 9457 problem details, with the type URIs of the Open Workflow DSL 1.0
//! (`https://serverlessworkflow.io/spec/1.0.0/errors/…`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The prefix of the standard's error types.
pub const STANDARD_PREFIX: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";
/// The prefix of Stepmill's own error types.
pub const OWN_PREFIX: &str = "https://stepmill.dev/errors/";

/// RFC 9457 problem details. `status` follows HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{title}{}", detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    /// A URI that names the kind of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status that fits best.
    pub status: u16,
    /// A short text, the same for all errors of this kind.
    pub title: String,
    /// What happened here, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where: the path of the step (JSON pointer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whatever else the author of the error wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// The standard's error kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// The definition or the configuration is wrong (400).
    Configuration,
    /// Data does not fit its schema (400).
    Validation,
    /// An expression failed (400).
    Expression,
    /// Who calls is not known (401).
    Authentication,
    /// Who calls may not do this (403).
    Authorization,
    /// Too late (408).
    Timeout,
    /// Talking to another system failed (500).
    Communication,
    /// Anything else at run time (500).
    Runtime,
}

impl Standard {
    /// Type URI, status and title.
    #[must_use]
    pub const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Configuration => ("configuration", 400, "Configuration error"),
            Self::Validation => ("validation", 400, "Validation error"),
            Self::Expression => ("expression", 400, "Expression error"),
            Self::Authentication => ("authentication", 401, "Authentication error"),
            Self::Authorization => ("authorization", 403, "Authorization error"),
            Self::Timeout => ("timeout", 408, "Timeout"),
            Self::Communication => ("communication", 500, "Communication error"),
            Self::Runtime => ("runtime", 500, "Runtime error"),
        }
    }
}

impl Problem {
    /// A problem of one of the standard's kinds.
    #[must_use]
    pub fn standard(kind: Standard, detail: impl Into<String>) -> Self {
        let (name, status, title) = kind.parts();
        Self {
            kind: format!("{STANDARD_PREFIX}{name}"),
            status,
            title: title.into(),
            detail: Some(detail.into()),
            instance: None,
            extra: None,
        }
    }

    /// A problem of our own kind, for instance `own("not-found", 404, "Not found", "no run …")`.
    #[must_use]
    pub fn own(name: &str, status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{OWN_PREFIX}{name}"),
            status,
            title: title.into(),
            detail: Some(detail.into()),
            instance: None,
            extra: None,
        }
    }

    /// The same problem with the place it happened at, unless it has one already.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance.get_or_insert_with(|| instance.into());
        self
    }

    /// The same problem with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Whether this is the standard's kind `kind`.
    #[must_use]
    pub fn is(&self, kind: Standard) -> bool {
        self.kind.strip_prefix(STANDARD_PREFIX) == Some(kind.parts().0)
    }
}
