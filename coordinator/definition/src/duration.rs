//! Durations of the DSL: ISO 8601 text or an object of days, hours, minutes, seconds, milliseconds. Only units of a
//! fixed length: a month is not one.

use jiff::Span;
use serde_json::Value;
use stepmill_protocol::Millis;
use stepmill_protocol::limit::DURATION_MAX;

/// The units of a duration object, with their milliseconds.
pub const UNITS: [(&str, u64); 5] =
    [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000), ("milliseconds", 1)];

/// Reads a duration.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn from_value(value: &Value) -> Result<Millis, String> {
    match value {
        Value::String(text) => from_text(text),
        Value::Object(map) if map.is_empty() => {
            Err("the duration is empty; give at least one of days, hours, minutes, seconds, milliseconds".into())
        }
        Value::Object(map) => {
            let mut total = 0_u64;
            for (name, n) in map {
                let Some((_, unit)) = UNITS.iter().find(|u| u.0 == name) else {
                    return Err(format!(
                        "`{name}` is not a unit of a duration; use days, hours, minutes, seconds or milliseconds"
                    ));
                };
                let Some(n) = n.as_u64() else {
                    return Err(format!("`{name}` must be a whole number from 0 on, not {n}"));
                };
                total = total.saturating_add(n.saturating_mul(*unit));
            }
            bounded(total)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(format!(
            "{value} is not a duration; use ISO 8601 text such as `PT30S` or an object such as `seconds: 30`"
        )),
    }
}

fn from_text(text: &str) -> Result<Millis, String> {
    let wrong = |why: String| Err(format!("`{}` is not a duration: {why}", text.chars().take(80).collect::<String>()));
    if !text.starts_with('P') {
        return wrong("it must begin with `P`, for instance `PT30S` or `P1DT12H`".into());
    }
    let span: Span = match text.parse() {
        Ok(span) => span,
        Err(e) => return wrong(format!("{e}")),
    };
    if span.get_years() != 0 || span.get_months() != 0 {
        return wrong("years and months have no fixed length; use days or weeks".into());
    }
    // a day is 24 hours here: a run has no time zone
    let Ok(duration) = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()) else {
        return wrong("it is too long".into());
    };
    match u64::try_from(duration.as_millis()) {
        Ok(ms) => bounded(ms),
        Err(_) => wrong("it is negative".into()),
    }
}

fn bounded(ms: u64) -> Result<Millis, String> {
    if ms > DURATION_MAX.0 {
        return Err(format!("the duration is longer than the limit of {} days", DURATION_MAX.0 / 86_400_000));
    }
    Ok(Millis(ms))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        for (value, ms) in [
            (json!("PT30S"), 30_000),
            (json!("P1DT12H"), 129_600_000),
            (json!("P2W"), 1_209_600_000),
            (json!("PT0.25S"), 250),
            (json!({"days": 1, "hours": 2, "minutes": 3, "seconds": 4, "milliseconds": 5}), 93_784_005),
            (json!({"seconds": 0}), 0),
        ] {
            assert_eq!(from_value(&value), Ok(Millis(ms)), "{value}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_no_sense_is_refused() {
        for value in [
            json!("P1M"),
            json!("P1Y"),
            json!("-PT1S"),
            json!("30s"),
            json!("PT"),
            json!(""),
            json!({}),
            json!(5),
            json!({"weeks": 1}),
            json!({"seconds": -1}),
            json!({"seconds": 1.5}),
            json!({"days": 99_999}),
            json!(null),
            json!("P99999999D"),
        ] {
            assert!(from_value(&value).is_err(), "{value}");
        }
    }
}
