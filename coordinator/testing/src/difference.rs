//! Where two values differ.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::limit::DIFFERENCES_MAX;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: a JSON pointer, empty for the whole.
    pub at: String,
    /// What was expected there; nothing where there should be nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What was there; nothing where there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".into(), Value::to_string);
        let at = if self.at.is_empty() { "it" } else { &self.at };
        write!(f, "{at}: expected {}, got {}", shown(&self.expected), shown(&self.got))
    }
}

/// Where two values differ; objects whose fields stand in another order do not. With `partly`, fields that are not
/// expected may be there.
pub(crate) fn differences(expected: &Value, got: &Value, partly: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(expected, got, partly, &mut String::new(), &mut found);
    found
}

fn compare(expected: &Value, got: &Value, partly: bool, at: &mut String, found: &mut Vec<Difference>) {
    if found.len() >= DIFFERENCES_MAX {
        return;
    }
    let mut deeper = |segment: &str, expected: Option<&Value>, got: Option<&Value>| {
        let length = at.len();
        at.push('/');
        at.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        match (expected, got) {
            (Some(expected), Some(got)) => compare(expected, got, partly, at, found),
            (expected, got) => {
                found.push(Difference { at: at.clone(), expected: expected.cloned(), got: got.cloned() });
            }
        }
        at.truncate(length);
    };
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (name, value) in expected {
                deeper(name, Some(value), got.get(name));
            }
            for (name, value) in got.iter().filter(|(name, _)| !partly && !expected.contains_key(*name)) {
                deeper(name, None, Some(value));
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            for n in 0..expected.len().max(got.len()) {
                deeper(&n.to_string(), expected.get(n), got.get(n));
            }
        }
        (expected, got) if same(expected, got) => {}
        (expected, got) => {
            found.push(Difference { at: at.clone(), expected: Some(expected.clone()), got: Some(got.clone()) });
        }
    }
}

/// Equal, where 2 and 2.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) if a.is_f64() != b.is_f64() => x == y,
        (_, _) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(expected: &Value, got: &Value, partly: bool) -> Vec<String> {
        differences(expected, got, partly).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let (expected, got) =
            (json!({"a": 1, "b": {"c": [1, 2]}, "d": 2}), json!({"d": 2.0, "b": {"c": [1, 3, 4]}, "e": 5}));
        assert_eq!(
            shown(&expected, &got, false),
            [
                "/a: expected 1, got nothing",
                "/b/c/1: expected 2, got 3",
                "/b/c/2: expected nothing, got 4",
                "/e: expected nothing, got 5"
            ]
        );
        assert_eq!(shown(&json!({"b": {"c": [1, 3, 4]}}), &got, true), [""; 0]);
        assert_eq!(shown(&json!(null), &json!({}), true), ["it: expected null, got {}"]);
    }

    #[test]
    fn a_long_list_of_differences_is_cut() {
        let (expected, got) = (json!(vec![0; 1000]), json!(vec![1; 1000]));
        assert_eq!(differences(&expected, &got, false).len(), DIFFERENCES_MAX);
    }
}
