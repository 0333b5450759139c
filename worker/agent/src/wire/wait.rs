//! How long a service wants us to wait: `Retry-After`, and the headers in which services tell their limits.

use stepmill_protocol::{Millis, Timestamp};

use super::Headers;
use crate::limit;

/// What remains of a limit, and when it is full again.
const LIMITS: [(&str, &str); 6] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// How long to wait before the next try, as far as the headers of a refusal say so; at most a day.
#[must_use]
pub fn wait(headers: &Headers, now: Timestamp) -> Option<Millis> {
    let said = || {
        let millis = headers.get("retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok());
        millis.and_then(whole_millis).or_else(|| moment(headers.get("retry-after")?, now))
    };
    said().or_else(|| used_up(headers, now)).map(|wait| wait.min(limit::RETRY_AFTER_MAX))
}

/// The longest wait among the limits of which nothing remains.
fn used_up(headers: &Headers, now: Timestamp) -> Option<Millis> {
    let full = LIMITS.iter().filter(|(remaining, _)| headers.get(remaining).is_some_and(|text| text.trim() == "0"));
    full.filter_map(|(_, reset)| moment(headers.get(reset)?, now)).max()
}

/// Seconds, a duration (`6m0.5s`, `20ms`), an HTTP date or an ISO date.
fn moment(text: &str, now: Timestamp) -> Option<Millis> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return whole_millis(seconds * 1_000.0);
    }
    if let Some(wait) = duration(text) {
        return Some(wait);
    }
    let at = match httpdate::parse_http_date(text) {
        Ok(date) => u64::try_from(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()?,
        Err(_) => u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()?,
    };
    Some(Millis(at.saturating_sub(now.0)))
}

/// Numbers with units, one after the other.
fn duration(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let millis = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * millis;
        rest = after;
    }
    (!text.is_empty()).then(|| whole_millis(sum)).flatten()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked, and casts of floats stay in range"
)]
fn whole_millis(millis: f64) -> Option<Millis> {
    (millis.is_finite() && millis >= 0.0).then(|| Millis(millis.ceil() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_says_in_its_own_way_how_long_to_wait() {
        let now = Timestamp(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let openai = [
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-reset-requests", "8.64s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:49:47Z"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:39Z"),
        ];
        for (headers, expected) in [
            (vec![("Retry-After", "3")], Some(3_000)),
            (vec![("retry-after", "0.25")], Some(250)),
            (vec![("retry-after-ms", "1500"), ("retry-after", "9")], Some(1_500)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")], Some(10_000)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")], Some(0)),
            (vec![("retry-after", "99999999999")], Some(limit::RETRY_AFTER_MAX.0)),
            (vec![("retry-after", "soon")], None),
            (openai.to_vec(), Some(360_000)),
            (vec![("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "20ms")], Some(20)),
            (vec![("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-reset-requests", "20ms")], None),
            (anthropic.to_vec(), Some(10_000)),
            (vec![], None),
        ] {
            assert_eq!(wait(&headers.iter().copied().collect(), now).map(|w| w.0), expected, "{headers:?}");
        }
    }
}
