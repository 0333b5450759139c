//! The only reader of the wall clock in this package.

use std::time::{SystemTime, UNIX_EPOCH};

use stepmill_protocol::Timestamp;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
