//! Cron patterns: five fields, or six with seconds in front, in UTC.

use croner::Cron;
use jiff::tz::TimeZone;
use stepmill_protocol::{Millis, Timestamp};

fn parse(pattern: &str) -> Result<Cron, String> {
    pattern.parse().map_err(|e| format!("`{pattern}` is not a cron pattern: {e}"))
}

/// Whether the pattern can be read.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn check(pattern: &str) -> Result<(), String> {
    parse(pattern).map(drop)
}

/// How long from `at` to the pattern's next time after it.
///
/// # Errors
/// What is wrong, as a sentence: the pattern cannot be read, or has no next time.
pub fn until_next(pattern: &str, at: Timestamp) -> Result<Millis, String> {
    let cron = parse(pattern)?;
    let none = |e: String| format!("the cron pattern `{pattern}` has no next time: {e}");
    let millis = i64::try_from(at.0).map_err(|e| none(e.to_string()))?;
    let now = jiff::Timestamp::from_millisecond(millis).map_err(|e| none(e.to_string()))?;
    let now = TimeZone::UTC.to_datetime(now);
    let next = cron.find_next_occurrence(&now, false).map_err(|e| none(e.to_string()))?;
    let next = TimeZone::UTC.to_timestamp(next).map_err(|e| none(e.to_string()))?;
    Ok(Timestamp(u64::try_from(next.as_millisecond()).unwrap_or(0)).since(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_after_the_moment_and_in_utc() {
        let day = 86_400_000;
        assert_eq!(until_next("0 0 * * *", Timestamp(0)), Ok(Millis(day)));
        assert_eq!(until_next("0 0 * * *", Timestamp(1)), Ok(Millis(day - 1)));
        assert_eq!(until_next("*/5 * * * *", Timestamp(301_500)), Ok(Millis(298_500)));
        // 1970-01-01 was a Thursday.
        assert_eq!(until_next("30 6 * * MON", Timestamp(0)), Ok(Millis(4 * day + 23_400_000)));
        assert_eq!(until_next("0 0 29 2 *", Timestamp(0)), Ok(Millis((365 * 2 + 31 + 28) * day)));
    }

    #[test]
    fn what_is_no_pattern_or_never_comes_is_said() {
        for wrong in ["", "a", "61 * * * *", "* * *"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(until_next("0 0 31 2 *", Timestamp(0)).is_err());
    }
}
