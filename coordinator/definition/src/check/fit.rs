//! Whether two JSON Schemas can hold for the same value. It says no only where that is certain; what it does not understand,
//! it takes to fit.

use serde_json::Value;

/// Pairs of schemas looked at in one comparison; beyond, everything fits.
const PAIRS_MAX: usize = 5_000;
/// Parts of one schema (`allOf`, `$ref`).
const PARTS_MAX: usize = 32;

/// The kinds of values, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kinds(u8);

const NULL: Kinds = Kinds(1);
const BOOLEAN: Kinds = Kinds(2);
const INTEGER: Kinds = Kinds(4);
const FRACTION: Kinds = Kinds(8);
const TEXT: Kinds = Kinds(16);
const LIST: Kinds = Kinds(32);
const OBJECT: Kinds = Kinds(64);
const NUMBER: Kinds = Kinds(INTEGER.0 | FRACTION.0);
const NAMES: [(Kinds, &str); 8] = [
    (NULL, "null"),
    (BOOLEAN, "true or false"),
    (NUMBER, "a number"),
    (INTEGER, "a whole number"),
    (FRACTION, "a number with decimals"),
    (TEXT, "text"),
    (LIST, "a list"),
    (OBJECT, "an object"),
];

impl Kinds {
    const ALL: Self = Self(127);

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn is_none(self) -> bool {
        self.0 == 0
    }

    const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn of_name(name: &str) -> Self {
        match name {
            "null" => NULL,
            "boolean" => BOOLEAN,
            "integer" => INTEGER,
            "number" => NUMBER,
            "string" => TEXT,
            "array" => LIST,
            "object" => OBJECT,
            _ => Self::ALL,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => NULL,
            Value::Bool(_) => BOOLEAN,
            Value::Number(n) if n.as_f64().is_none_or(|f| f.fract() == 0.0) => INTEGER,
            Value::Number(_) => FRACTION,
            Value::String(_) => TEXT,
            Value::Array(_) => LIST,
            Value::Object(_) => OBJECT,
        }
    }

    /// What a schema says of the kind of its values.
    fn of_schema(schema: &Value) -> Self {
        let stated = match schema.get("type") {
            Some(Value::String(name)) => Self::of_name(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).fold(Self(0), |all, name| all.or(Self::of_name(name)))
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Self::ALL,
        };
        let listed = values(schema).map_or(Self::ALL, |v| v.iter().fold(Self(0), |all, v| all.or(Self::of_value(v))));
        stated.and(listed)
    }

    fn words(self) -> String {
        let mut rest = self;
        let mut words = Vec::new();
        for (kinds, name) in NAMES {
            if !kinds.and(rest).is_none() && kinds.within(self) {
                words.push(name);
                rest = Self(rest.0 & !kinds.0);
            }
        }
        words.join(" or ")
    }
}

/// The values that a schema lists.
fn values(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(Value::Array(all))) => Some(all.iter().collect()),
        (None, Some(_) | None) => None,
    }
}

/// Why no value that fits `given` fits `wanted`; none where one may.
pub(super) fn clash(given: &Value, wanted: &Value) -> Option<String> {
    Comparison { given, wanted, pairs: 0 }.compare(given, wanted, "")
}

struct Comparison<'v> {
    given: &'v Value,
    wanted: &'v Value,
    pairs: usize,
}

impl<'v> Comparison<'v> {
    fn compare(&mut self, given: &'v Value, wanted: &'v Value, at: &str) -> Option<String> {
        self.pairs += 1;
        if self.pairs > PAIRS_MAX {
            return None;
        }
        let (givens, wanteds) = (parts(self.given, given), parts(self.wanted, wanted));
        for a in &givens {
            for b in &wanteds {
                if let Some(why) = self.pair(a, b, at) {
                    return Some(why);
                }
            }
        }
        for choices in givens.iter().flat_map(|a| alternatives(a)) {
            if let Some(why) = self.every(choices, |c, choice| c.compare(choice, wanted, at)) {
                return Some(why);
            }
        }
        for choices in wanteds.iter().flat_map(|b| alternatives(b)) {
            if let Some(why) = self.every(choices, |c, choice| c.compare(given, choice, at)) {
                return Some(why);
            }
        }
        None
    }

    /// Why none of several alternatives fits: what is said of the first.
    fn every(
        &mut self,
        choices: &'v [Value],
        mut compare: impl FnMut(&mut Self, &'v Value) -> Option<String>,
    ) -> Option<String> {
        let mut first = None;
        for choice in choices {
            let why = compare(self, choice)?;
            first.get_or_insert(why);
        }
        first
    }

    fn pair(&mut self, given: &'v Value, wanted: &'v Value, at: &str) -> Option<String> {
        let place = if at.is_empty() { "it".to_owned() } else { format!("`{at}`") };
        if wanted == &Value::Bool(false) {
            return Some(format!("{place} is not allowed at all"));
        }
        let (a, b) = (Kinds::of_schema(given), Kinds::of_schema(wanted));
        if a.is_none() || b.is_none() {
            return None;
        }
        let both = a.and(b);
        if both.is_none() {
            return Some(format!("{place} is {} and must be {}", a.words(), b.words()));
        }
        if let (Some(has), Some(may)) = (values(given), values(wanted))
            && !has.iter().any(|v| may.iter().any(|w| equal(v, w)))
        {
            return Some(format!("{place} has no value that is allowed"));
        }
        if both.within(NUMBER)
            && let Some(why) = apart(given, wanted, "minimum", "maximum")
        {
            return Some(format!("{place} {why}"));
        }
        if both == TEXT && apart(given, wanted, "minLength", "maxLength").is_some() {
            return Some(format!("{place} never has a length that is allowed"));
        }
        match both {
            LIST => self.lists(given, wanted, at, &place),
            OBJECT => self.objects(given, wanted, at),
            _ => None,
        }
    }

    fn lists(&mut self, given: &'v Value, wanted: &'v Value, at: &str, place: &str) -> Option<String> {
        if apart(given, wanted, "minItems", "maxItems").is_some() {
            return Some(format!("{place} never has a number of items that is allowed"));
        }
        let least = |schema: &Value| schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if least(given).max(least(wanted)) == 0 {
            return None;
        }
        let first = |schema: &'v Value| match schema.get("prefixItems").and_then(Value::as_array) {
            Some(items) if !items.is_empty() => items.first(),
            Some(_) | None => schema.get("items"),
        };
        self.compare(first(given)?, first(wanted)?, &format!("{at}/0"))
    }

    fn objects(&mut self, given: &'v Value, wanted: &'v Value, at: &str) -> Option<String> {
        let needs = |schema: &'v Value| required(schema).collect::<Vec<&str>>();
        for key in needs(wanted) {
            if field(given, key) == Some(&Value::Bool(false)) {
                return Some(format!("`{at}/{key}` is required and never there"));
            }
        }
        for key in needs(given) {
            if field(wanted, key) == Some(&Value::Bool(false)) {
                return Some(format!("`{at}/{key}` is always there and not allowed"));
            }
        }
        let mut keys = [needs(given), needs(wanted)].concat();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().find_map(|key| {
            let (a, b) = (field(given, key)?, field(wanted, key)?);
            self.compare(a, b, &format!("{at}/{key}"))
        })
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The schema of a field; none where it is not plain which one counts.
fn field<'v>(schema: &'v Value, key: &str) -> Option<&'v Value> {
    if let Some(found) = schema.get("properties").and_then(|p| p.get(key)) {
        return Some(found);
    }
    if schema.get("patternProperties").is_some() {
        return None;
    }
    schema.get("additionalProperties")
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => x == y,
        _ => a == b,
    }
}

/// Whether the ranges of two schemas have nothing in common.
fn apart(given: &Value, wanted: &Value, least: &str, most: &str) -> Option<&'static str> {
    let number = |schema: &Value, key: &str| schema.get(key).and_then(Value::as_f64);
    if number(given, least).zip(number(wanted, most)).is_some_and(|(a, b)| a > b) {
        return Some("is always larger than what is allowed");
    }
    if number(given, most).zip(number(wanted, least)).is_some_and(|(a, b)| a < b) {
        return Some("is always smaller than what is allowed");
    }
    None
}

/// The schemas that must all hold where this one does: itself, `allOf`, and what `$ref` leads to within the document.
fn parts<'v>(root: &'v Value, schema: &'v Value) -> Vec<&'v Value> {
    let mut parts = vec![schema];
    let mut at = 0;
    while let Some(part) = parts.get(at).copied() {
        at += 1;
        let all = part.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let target = part.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        for more in all.chain(target.and_then(|pointer| root.pointer(pointer))) {
            if parts.len() < PARTS_MAX && !parts.iter().any(|p| std::ptr::eq(*p, more)) {
                parts.push(more);
            }
        }
    }
    parts
}

/// Lists of schemas of which one must hold.
fn alternatives(schema: &Value) -> Vec<&[Value]> {
    let lists = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key).and_then(Value::as_array));
    lists.map(Vec::as_slice).filter(|list| !list.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_match_is_named() {
        let cases = [
            (json!({"type": "string"}), json!({"type": "number"}), "it is text and must be a number"),
            (
                json!({"type": ["string", "null"]}),
                json!({"type": "object"}),
                "it is null or text and must be an object",
            ),
            (
                json!({"const": 1.5}),
                json!({"type": "integer"}),
                "it is a number with decimals and must be a whole number",
            ),
            (json!({"enum": ["a", "b"]}), json!({"enum": ["c"]}), "it has no value that is allowed"),
            (
                json!({"type": "integer", "maximum": 3}),
                json!({"type": "number", "minimum": 4}),
                "it is always smaller than what is allowed",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}}),
                json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "boolean"}}}),
                "`/a` is text and must be true or false",
            ),
            (
                json!({"type": "object", "properties": {"a": true}, "additionalProperties": false}),
                json!({"type": "object", "required": ["b"]}),
                "`/b` is required and never there",
            ),
            (
                json!({"type": "object", "required": ["a"]}),
                json!({"type": "object", "properties": {"b": true}, "additionalProperties": false}),
                "`/a` is always there and not allowed",
            ),
            (
                json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
                json!({"type": "array", "items": {"type": "number"}}),
                "`/0` is text and must be a number",
            ),
            (
                json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}),
                json!({"allOf": [{"type": "string"}]}),
                "it is a number and must be text",
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!({"oneOf": [{"type": "number"}, {"type": "boolean"}]}),
                "it is text and must be a number",
            ),
        ];
        for (given, wanted, why) in cases {
            assert_eq!(clash(&given, &wanted).as_deref(), Some(why), "{given} into {wanted}");
        }
    }

    #[test]
    fn what_may_match_is_left_alone() {
        let cases = [
            (json!(true), json!({"type": "object", "required": ["a"]})),
            (json!({}), json!({"type": "string"})),
            (json!({"type": "integer"}), json!({"type": "number"})),
            (json!({"type": "number"}), json!({"type": "integer"})),
            (json!({"type": "object"}), json!({"type": "object", "required": ["a"]})),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                json!({"type": "array", "items": {"type": "number"}}),
            ),
            (json!({"anyOf": [{"type": "string"}, {"type": "number"}]}), json!({"type": "number"})),
            (json!({"const": 1}), json!({"enum": [1.0, 2]})),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}}}),
                json!({"type": "object", "properties": {"a": {"type": "number"}}}),
            ),
            (
                json!({"type": "object", "patternProperties": {"^b": true}, "additionalProperties": false}),
                json!({"type": "object", "required": ["b"]}),
            ),
            (json!({"$ref": "#"}), json!({"type": "string"})),
            (json!({"$ref": "https://example.com/x"}), json!({"type": "string"})),
        ];
        for (given, wanted) in cases {
            assert_eq!(clash(&given, &wanted), None, "{given} into {wanted}");
        }
    }
}
