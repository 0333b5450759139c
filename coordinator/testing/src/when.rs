//! Points in virtual time.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use stepmill_protocol::{Millis, Timestamp};

/// A length of time as the language writes it: `PT30S`, or an object such as `seconds: 30`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After(pub Millis);

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        stepmill_definition::duration::from_value(&value).map(Self).map_err(de::Error::custom)
    }
}

impl From<std::time::Duration> for After {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration.into())
    }
}

impl JsonSchema for After {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let whole = serde_json::json!({ "type": "integer", "minimum": 0 });
        let units: serde_json::Map<String, Value> =
            stepmill_definition::duration::UNITS.iter().map(|(name, _)| ((*name).to_owned(), whole.clone())).collect();
        json_schema!({
            "description": "A length of time: ISO 8601 text such as `PT30S`, or an object such as `seconds: 30`.",
            "oneOf": [
                { "type": "string", "pattern": "^P" },
                { "type": "object", "properties": units, "additionalProperties": false, "minProperties": 1 }
            ]
        })
    }
}

/// A point in time, written as in RFC 3339: `2026-01-31T09:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

/// Runs begin at 2026-01-01T00:00:00Z unless their case says otherwise.
impl Default for Moment {
    fn default() -> Self {
        Self(Timestamp(1_767_225_600_000))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read: jiff::Timestamp = text.parse().map_err(|e| {
            de::Error::custom(format!("`{text}` is not a point in time such as `2026-01-31T09:00:00Z`: {e}"))
        })?;
        let millis = u64::try_from(read.as_millisecond())
            .map_err(|_| de::Error::custom(format!("`{text}` is before 1970, where time begins")))?;
        Ok(Self(Timestamp(millis)))
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A point in time, for instance `2026-01-31T09:00:00Z`.", "type": "string", "format": "date-time"
        })
    }
}

/// A length of time for people, to the millisecond.
pub(crate) fn shown(millis: Millis) -> String {
    let (mut left, mut text) = (millis.0, String::new());
    for (name, unit) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)] {
        if left >= unit {
            let space = if text.is_empty() { "" } else { " " };
            text.push_str(&format!("{space}{} {name}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0 s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_units() {
        for (millis, text) in [(0, "0 s"), (1, "1 ms"), (61_500, "1 min 1 s 500 ms"), (90_000_000, "1 d 1 h")] {
            assert_eq!(shown(Millis(millis)), text);
        }
    }

    #[test]
    fn runs_begin_with_a_year() {
        let read: Moment = serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        assert_eq!(read, Moment::default());
    }
}
