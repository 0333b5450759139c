//! Times and lengths of time as people write and read them.

use jiff::{SpanRelativeTo, Unit};
use stepmill_protocol::{Millis, Timestamp};

/// Reads a point in time: RFC 3339 (`2026-11-22T10:00:00Z`), a date, or how long ago (`90m`, `2d`).
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let bad = || {
        format!("`{text}` is no time; write `2026-11-22T10:00:00Z`, `2026-11-22`, or how long ago, as `90m` or `2d`")
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| bad());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let at = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad())?.timestamp();
        return u64::try_from(at.as_millisecond()).map(Timestamp).map_err(|_| bad());
    }
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let ago = span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).map_err(|_| bad())?;
    if !(0.0..1e15).contains(&ago) {
        return Err(bad());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked above")]
    let ago = ago as u64;
    Ok(Timestamp(now().0.saturating_sub(ago)))
}

/// The present moment.
pub(crate) fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// Date and time to the second, in UTC.
pub(crate) fn date_time(at: Timestamp) -> String {
    at_millisecond(at).map_or_else(|| at.0.to_string(), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The time of day to the millisecond, in UTC.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    at_millisecond(at).map_or_else(|| at.0.to_string(), |t| t.strftime("%H:%M:%S%.3f").to_string())
}

fn at_millisecond(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

/// A length of time in two units at most: `740 ms`, `12.3 s`, `5 min 10 s`, `3 h 7 min`, `2 d 4 h`.
pub(crate) fn length(length: Millis) -> String {
    let (ms, s) = (length.0, length.0 / 1000);
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", s, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_read_in_three_forms() {
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Timestamp(1000)));
        assert_eq!(parse("1970-01-02"), Ok(Timestamp(86_400_000)));
        let two_days_ago = parse("2d").unwrap();
        assert!(now().since(two_days_ago).0.abs_diff(172_800_000) < 5_000, "{two_days_ago:?}");
        for bad in ["", "soon", "-3h", "1960-01-01"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        let shown: Vec<String> = [740, 12_340, 310_000, 11_220_000, 187_200_000].map(|ms| length(Millis(ms))).into();
        assert_eq!(shown, ["740 ms", "12.3 s", "5 min 10 s", "3 h 7 min", "2 d 4 h"]);
    }
}
