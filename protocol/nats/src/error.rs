//! What can go wrong between us and the broker, and the two questions about it: may I try again, and could it have
//! happened all the same?

use stepmill_protocol::link::LinkError;

/// Talking to NATS failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NatsError {
    /// No server could be reached, or it refused us.
    #[error("cannot connect to NATS at {urls}: {reason}")]
    Connect {
        /// Where we tried (without passwords).
        urls: String,
        /// What the client said.
        reason: String,
        /// Whether the server may come up or change its mind.
        retryable: bool,
    },
    /// An option cannot be used.
    #[error("the NATS setting `{setting}` cannot be used: {reason}")]
    Option {
        /// Which.
        setting: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// The server silently ignores settings that we depend on.
    #[error("nats-server {found} is too old: install {floor} or later (deploy/get-nats-server fetches a current one)")]
    ServerTooOld {
        /// Its version.
        found: String,
        /// What we need.
        floor: &'static str,
    },
    /// JetStream is off.
    #[error(
        "JetStream is not available to this account ({reason}): start nats-server with `-js` or enable it for the account"
    )]
    NoJetStream {
        /// What the server said.
        reason: String,
    },
    /// The connection broke while the answer was awaited.
    #[error("the connection to NATS broke while waiting for the answer to {what}")]
    Disconnected {
        /// What was under way.
        what: String,
    },
    /// No answer came in time.
    #[error(
        "no answer to {what} within {millis} ms; is the server overloaded, or does the account lack the permission?"
    )]
    Timeout {
        /// What was under way.
        what: String,
        /// How long we waited.
        millis: u128,
    },
    /// Nobody listens on a subject; for a stream's subject: there is no stream.
    #[error("nobody listens on {subject}; a stream, a coordinator or the right to see it is missing")]
    NoResponders {
        /// The subject.
        subject: String,
    },
    /// A stream is at its limit.
    #[error("stream {stream} is full ({reason}); finish or purge what it holds, or raise its limit")]
    Full {
        /// Which.
        stream: String,
        /// What the server said.
        reason: String,
    },
    /// A message is larger than the server or the stream takes.
    #[error("a message of {bytes} bytes is above the limit of {max} bytes")]
    TooLarge {
        /// Its size; zero where only the server knows it.
        bytes: usize,
        /// The limit; zero where only the server knows it.
        max: usize,
    },
    /// A stream or consumer exists with a setting that we cannot change.
    #[error(
        "{object} has {setting} = {found}, but {wanted} is needed; it cannot be changed: delete or recreate {object}"
    )]
    Setting {
        /// The stream or consumer.
        object: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// Something that we asked for does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// What.
        what: String,
    },
    /// The server refused.
    #[error("NATS refused {what}: {text} (code {code})")]
    Refused {
        /// What was asked.
        what: String,
        /// JetStream's error code.
        code: u64,
        /// JetStream's words.
        text: String,
        /// Whether the server says that it is about its present state.
        retryable: bool,
    },
    /// A reader no longer knows whether it sees everything; it must be opened again from a checked position.
    #[error("reading {what} was interrupted: {reason}")]
    Interrupted {
        /// What was read.
        what: String,
        /// Why it cannot go on.
        reason: String,
    },
    /// Bytes that are not what they should be.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
}

impl NatsError {
    /// Whether trying again can help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { retryable, .. } | Self::Refused { retryable, .. } => *retryable,
            Self::Disconnected { .. }
            | Self::Timeout { .. }
            | Self::NoResponders { .. }
            | Self::Full { .. }
            | Self::NotFound { .. }
            | Self::Interrupted { .. } => true,
            Self::Option { .. }
            | Self::ServerTooOld { .. }
            | Self::NoJetStream { .. }
            | Self::TooLarge { .. }
            | Self::Setting { .. }
            | Self::Malformed { .. } => false,
        }
    }

    /// Whether it may have happened all the same (a lost answer).
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Timeout { .. })
    }

    pub(crate) fn malformed(what: &str, reason: impl std::fmt::Display) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn interrupted(what: &str, reason: impl Into<String>) -> Self {
        Self::Interrupted { what: what.into(), reason: reason.into() }
    }
}

impl From<NatsError> for LinkError {
    fn from(e: NatsError) -> Self {
        Self { message: e.to_string(), retryable: e.is_retryable(), may_have_happened: e.may_have_happened() }
    }
}
