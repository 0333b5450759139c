//! Why the loop broke off.

/// The loop cannot go on. It never tries again: a figure that holds a disturbance is none.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// NATS did not do what it was asked for.
    #[error("NATS, {what}: {reason}")]
    Nats {
        /// What was asked for.
        what: String,
        /// Why it was not done.
        reason: String,
    },
    /// Redis did not do what it was asked for.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// A message came that the loop did not send.
    #[error("a message came that the loop does not know: {0}")]
    Foreign(String),
    /// Nothing came for a long time though something was under way.
    #[error("nothing came for {0:?}, with {1} runs on their way and {2} messages not confirmed")]
    Stalled(std::time::Duration, usize, usize),
    /// A run was not where a result said it is.
    #[error("{0} results were refused: they came twice, or the store lost a write")]
    Refused(usize),
}

impl FloorError {
    pub(crate) fn nats(what: &str, reason: impl ToString) -> Self {
        Self::Nats { what: what.into(), reason: reason.to_string() }
    }
}
