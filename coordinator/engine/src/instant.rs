//! Points in time as expressions see them: the standard's date time descriptor.

use serde_json::{Value, json};
use stepmill_protocol::Timestamp;

/// `{ iso8601, epoch: { seconds, milliseconds } }`, in UTC.
pub(crate) fn descriptor(at: Timestamp) -> Value {
    json!({ "iso8601": iso8601(at), "epoch": { "seconds": at.0 / 1000, "milliseconds": at.0 } })
}

/// A time of RFC 3339, in UTC.
pub(crate) fn iso8601(at: Timestamp) -> String {
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil(days);
    let (h, m, s, f) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{f:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01. Counts in eras of 400 years that begin on a March 1st, so
/// that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days.saturating_add(719_468);
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_641_024_000_123, "2022-01-01T08:00:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso8601(Timestamp(ms)), text);
        }
    }
}
