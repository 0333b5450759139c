//! What an HTTP answer gives as a step's output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `output:` of the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// The body in Base64.
    Raw,
    /// The body, read as JSON where it says that it is.
    #[default]
    Content,
    /// Status, headers and content, and the request.
    Response,
}

/// The body as a value: nothing is `null`, JSON is read, text is text, and anything else is Base64.
pub(super) fn content(headers: &HeaderMap, body: Vec<u8>) -> Result<Value, serde_json::Error> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if is_json(headers) {
        return serde_json::from_slice(&body);
    }
    Ok(match String::from_utf8(body) {
        Ok(text) => Value::String(text),
        Err(error) => raw(error.as_bytes()),
    })
}

/// The body in Base64.
pub(super) fn raw(body: &[u8]) -> Value {
    Value::String(BASE64.encode(body))
}

/// Header names and values; what comes more than once is joined by a comma.
pub(super) fn headers_value(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match map.get_mut(name.as_str()) {
            Some(Value::String(before)) => *before = format!("{before}, {text}"),
            Some(_) | None => {
                map.insert(name.to_string(), Value::String(text));
            }
        }
    }
    Value::Object(map)
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json") || kind == "text/json"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_read_by_their_type() {
        let of = |kind: &str, body: &[u8]| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            content(&headers, body.to_vec())
        };
        assert_eq!(of("application/json; charset=utf-8", b"{\"a\":1}").unwrap(), json!({"a": 1}));
        assert_eq!(of("application/problem+json", b"[]").unwrap(), json!([]));
        assert_eq!(of("text/plain", b"{\"a\":1}").unwrap(), json!("{\"a\":1}"));
        assert_eq!(of("image/png", &[0xff, 0xfe]).unwrap(), json!("//4="));
        assert_eq!(of("application/json", b"").unwrap(), Value::Null);
        assert!(of("application/json", b"{oops").is_err());
    }
}
