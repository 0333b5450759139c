//! What can go wrong with the database, in words, and how the ports say it.

use std::path::PathBuf;

use stepmill_protocol::link::LinkError;

use crate::port::queue::QueueError;
use crate::port::store::StoreError;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another stepmill process uses {}; stop that one, or choose another folder", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder cannot be made, read or written.
    #[error("the database {} cannot be opened: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why an operation on the database failed. Nothing of it is known to be stored; a lost write may have happened all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// What happened, and what to do.
    message: String,
    /// What is stored cannot be read: trying again does not help.
    corrupt: bool,
}

impl Failure {
    /// The database did not do something.
    pub(crate) fn database(path: &str, error: &redb::Error) -> Self {
        let corrupt = matches!(
            error,
            redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_)
        );
        let message = if corrupt {
            format!(
                "the database {path} is damaged or of another version: {error}; restore it, or begin with an empty folder"
            )
        } else {
            format!(
                "the database {path} cannot be used: {error}; free disk space or mend the disk, it is tried again by itself"
            )
        };
        Self { message, corrupt }
    }

    /// The writer is no more.
    pub(crate) fn closed() -> Self {
        Self { message: "the database is closed; start the process again".into(), corrupt: false }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        if failure.corrupt { Self::Corrupt(failure.message) } else { Self::Unavailable(failure.message) }
    }
}

impl From<Failure> for QueueError {
    fn from(failure: Failure) -> Self {
        Self { retryable: !failure.corrupt, message: failure.message }
    }
}

impl From<Failure> for LinkError {
    fn from(failure: Failure) -> Self {
        Self { retryable: !failure.corrupt, message: failure.message, may_have_happened: true }
    }
}
