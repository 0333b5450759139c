//! The settings of a worker, checked.

use std::time::Duration;

use stepmill_protocol::PoolName;
use stepmill_protocol::id::InvalidId;

use crate::limit;
use crate::registry::Duplicate;
use crate::secret::Secrets;

/// The settings of a worker. [`crate::WorkerBuilder`] sets them one by one.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) pool: PoolName,
    pub(crate) slots: usize,
    pub(crate) name: String,
    pub(crate) grace: Duration,
    pub(crate) fetch_wait: Duration,
    pub(crate) secrets: Secrets,
}

/// A worker that cannot be built or started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A name has the wrong form.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// A step has two handlers.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
    /// No step at all.
    #[error("a worker needs at least one step; register one with `.step(\"name\", handler)`")]
    NoSteps,
    /// Too few or too many slots.
    #[error("{given} slots are not possible; choose between 1 and {max}", max = limit::SLOTS_MAX)]
    Slots {
        /// What was asked for.
        given: usize,
    },
    /// The pool could not be joined, and trying again cannot help.
    #[error("cannot join pool `{pool}`: {reason}")]
    Join {
        /// Which pool.
        pool: PoolName,
        /// Why not.
        reason: String,
    },
    /// The thread of the progress signs could not be started.
    #[error("cannot start the heartbeat thread ({0}); raise the limit of threads of this process")]
    Heartbeat(#[source] std::io::Error),
}

/// `<host>-<process id>`: for people who look at reports.
pub(crate) fn default_name() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|h| !h.is_empty()).unwrap_or_else(|| "worker".into());
    format!("{host}-{}", std::process::id())
}
