//! The only place where the embedded adapters read the system clock. Everything that is stored gets its time from here.

use std::time::{SystemTime, UNIX_EPOCH};

use stepmill_protocol::{Millis, Timestamp};

/// The system's time. A clock before 1970 counts as 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(Millis::from(since).0)
}
