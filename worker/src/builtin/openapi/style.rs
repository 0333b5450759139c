//! How values are written into a request: the styles of OpenAPI 3.

use serde_json::Value;

use super::document::Parameter;
use crate::builtin::http_call::plain;
use crate::secret::in_url;

/// The text for a place in the path.
pub(super) fn path(parameter: &Parameter, value: &Value) -> String {
    let name = in_url(&parameter.name);
    if parameter.json {
        return in_url(&value.to_string());
    }
    match (parameter.style.as_str(), value) {
        ("label", Value::Array(_) | Value::Object(_)) => {
            format!(".{}", parts(parameter, value).join(if parameter.explode { "." } else { "," }))
        }
        ("label", single) => format!(".{}", in_url(&plain(single))),
        ("matrix", Value::Array(items)) if parameter.explode => {
            items.iter().map(|item| format!(";{name}={}", in_url(&plain(item)))).collect()
        }
        ("matrix", Value::Object(_)) if parameter.explode => {
            parts(parameter, value).iter().map(|part| format!(";{part}")).collect()
        }
        ("matrix", other) => format!(";{name}={}", parts(parameter, other).join(",")),
        (_, other) => parts(parameter, other).join(","),
    }
}

/// The pairs for the query, encoded.
pub(super) fn query(parameter: &Parameter, value: &Value) -> Vec<String> {
    let name = in_url(&parameter.name);
    if parameter.json {
        return vec![format!("{name}={}", in_url(&value.to_string()))];
    }
    match (parameter.style.as_str(), value) {
        ("deepObject", Value::Object(fields)) => {
            fields.iter().map(|(key, v)| format!("{name}%5B{}%5D={}", in_url(key), in_url(&plain(v)))).collect()
        }
        (_, Value::Array(items)) if parameter.explode => {
            items.iter().map(|item| format!("{name}={}", in_url(&plain(item)))).collect()
        }
        (_, Value::Object(_)) if parameter.explode => parts(parameter, value),
        ("spaceDelimited", _) => vec![format!("{name}={}", parts(parameter, value).join("%20"))],
        ("pipeDelimited", _) => vec![format!("{name}={}", parts(parameter, value).join("%7C"))],
        (_, _) => vec![format!("{name}={}", parts(parameter, value).join(","))],
    }
}

/// The text of a header, not encoded.
pub(super) fn header(parameter: &Parameter, value: &Value) -> String {
    if parameter.json {
        return value.to_string();
    }
    match value {
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let between = if parameter.explode { "=" } else { "," };
            fields.iter().map(|(key, v)| format!("{key}{between}{}", plain(v))).collect::<Vec<_>>().join(",")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => plain(value),
    }
}

/// The pairs of a cookie.
pub(super) fn cookie(parameter: &Parameter, value: &Value) -> Vec<String> {
    query(parameter, value)
}

/// A value in pieces, each encoded; fields are `key=value` where exploded, else key and value one after the other.
fn parts(parameter: &Parameter, value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(|item| in_url(&plain(item))).collect(),
        Value::Object(fields) if parameter.explode => {
            fields.iter().map(|(key, v)| format!("{}={}", in_url(key), in_url(&plain(v)))).collect()
        }
        Value::Object(fields) => fields.iter().flat_map(|(key, v)| [in_url(key), in_url(&plain(v))]).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![in_url(&plain(value))],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::document::Place;
    use super::*;

    fn parameter(style: &str, explode: bool) -> Parameter {
        Parameter {
            name: "color".into(),
            place: Place::Query,
            required: false,
            style: style.into(),
            explode,
            json: false,
        }
    }

    /// The table of the OpenAPI specification.
    #[test]
    fn styles_are_those_of_the_specification() {
        let (array, object) = (json!(["blue", "black"]), json!({ "R": 100, "G": 200 }));
        for (style, explode, text, list, fields) in [
            ("matrix", false, ";color=blue", ";color=blue,black", ";color=R,100,G,200"),
            ("matrix", true, ";color=blue", ";color=blue;color=black", ";R=100;G=200"),
            ("label", false, ".blue", ".blue,black", ".R,100,G,200"),
            ("label", true, ".blue", ".blue.black", ".R=100.G=200"),
            ("simple", false, "blue", "blue,black", "R,100,G,200"),
            ("simple", true, "blue", "blue,black", "R=100,G=200"),
        ] {
            let p = parameter(style, explode);
            let shown = [json!("blue"), array.clone(), object.clone()].map(|v| path(&p, &v));
            assert_eq!(shown, [text, list, fields], "{style} {explode}");
        }
        for (style, explode, list, fields) in [
            ("form", false, "color=blue,black", "color=R,100,G,200"),
            ("form", true, "color=blue&color=black", "R=100&G=200"),
            ("spaceDelimited", false, "color=blue%20black", "color=R%20100%20G%20200"),
            ("pipeDelimited", false, "color=blue%7Cblack", "color=R%7C100%7CG%7C200"),
            ("deepObject", true, "color=blue&color=black", "color%5BR%5D=100&color%5BG%5D=200"),
        ] {
            let p = parameter(style, explode);
            let shown = [array.clone(), object.clone()].map(|v| query(&p, &v).join("&"));
            assert_eq!(shown, [list, fields], "{style} {explode}");
        }
        assert_eq!(header(&parameter("simple", true), &object), "R=100,G=200");
        assert_eq!(
            query(&Parameter { json: true, ..parameter("form", true) }, &json!({ "a": 1 })),
            ["color=%7B%22a%22%3A1%7D"]
        );
        assert_eq!(path(&parameter("simple", false), &json!("a/b ü")), "a%2Fb%20%C3%BC");
    }
}
