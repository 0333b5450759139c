//! CloudEvents 1.0: what must be true of one, and its structured and binary forms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::id::Namespace;
use crate::limit;

/// The media type of the structured form.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// What the names of the binary form's headers begin with.
pub const HEADER_PREFIX: &str = "ce-";
/// The version of CloudEvents that is understood.
pub const SPEC_VERSION: &str = "1.0";

/// Attributes of the standard that are texts and must not be empty.
const TEXTS: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];
/// Attributes that every event has.
const NEEDED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Something that is no CloudEvent 1.0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no CloudEvent 1.0: {0}")]
pub struct NotAnEvent(pub String);

/// A CloudEvent 1.0 as the JSON object of the structured form. Made through the checks only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct CloudEvent(Value);

impl TryFrom<Value> for CloudEvent {
    type Error = NotAnEvent;

    fn try_from(value: Value) -> Result<Self, NotAnEvent> {
        let wrong = |reason: String| Err(NotAnEvent(reason));
        let Value::Object(mut fields) = value else { return wrong("it is not a JSON object".into()) };
        // An attribute without value is absent; so is `data`.
        fields.retain(|_, v| !v.is_null());
        for name in NEEDED {
            if !fields.contains_key(name) {
                return wrong(format!("it has no `{name}`"));
            }
        }
        if fields.get("specversion").and_then(Value::as_str) != Some(SPEC_VERSION) {
            return wrong(format!("its `specversion` is not \"{SPEC_VERSION}\""));
        }
        if fields.contains_key("data") && fields.contains_key("data_base64") {
            return wrong("it has both `data` and `data_base64`".into());
        }
        for (name, value) in &fields {
            check_attribute(name, value).map_err(NotAnEvent)?;
        }
        let event = Self(Value::Object(fields));
        if event.kind().len() > limit::EVENT_TYPE_BYTES_MAX {
            let max = limit::EVENT_TYPE_BYTES_MAX;
            return wrong(format!("its `type` has more than {max} bytes (EVENT_TYPE_BYTES_MAX)"));
        }
        if !is_shallow(&event.0, limit::VALUE_DEPTH_MAX) {
            return wrong(format!("it is nested deeper than {} levels (VALUE_DEPTH_MAX)", limit::VALUE_DEPTH_MAX));
        }
        Ok(event)
    }
}

impl From<CloudEvent> for Value {
    fn from(event: CloudEvent) -> Self {
        event.0
    }
}

fn check_attribute(name: &str, value: &Value) -> Result<(), String> {
    if name == "data" {
        return Ok(());
    }
    if name == "data_base64" {
        let fine = value.as_str().is_some_and(|text| STANDARD.decode(text).is_ok());
        return if fine { Ok(()) } else { Err("its `data_base64` is not Base64".into()) };
    }
    if TEXTS.contains(&name) {
        let Some(text) = value.as_str().filter(|t| !t.is_empty()) else {
            return Err(format!("its `{name}` is not a text, or empty"));
        };
        return if name != "time" || is_time(text) {
            Ok(())
        } else {
            Err("its `time` is not a time of RFC 3339, for instance `2026-01-31T12:00:00Z`".into())
        };
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err(format!("the name of its attribute `{name}` is not of lower-case letters and digits"));
    }
    match value {
        Value::String(_) | Value::Bool(_) => Ok(()),
        Value::Number(n) if n.is_i64() || n.is_u64() => Ok(()),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("its attribute `{name}` is not a text, a whole number or a boolean"))
        }
    }
}

/// A time of RFC 3339: digits at their places, `T`, and an offset.
fn is_time(text: &str) -> bool {
    let (Some(head), Some(tail)) = (text.get(..19), text.get(19..)) else { return false };
    let shape = head.bytes().zip("0000-00-00T00:00:00".bytes());
    let fits = shape.enumerate().all(|(i, (given, wanted))| match wanted {
        b'0' => given.is_ascii_digit(),
        b'T' => matches!(given, b'T' | b't' | b' '),
        _ => i < 19 && given == wanted,
    });
    let fraction = tail.strip_prefix('.').map_or(0, |t| 1 + t.bytes().take_while(u8::is_ascii_digit).count());
    let offset = tail.get(fraction..).unwrap_or_default();
    let is_offset = matches!(offset, "Z" | "z")
        || (offset.len() == 6
            && offset.starts_with(['+', '-'])
            && offset.bytes().skip(1).enumerate().all(|(i, b)| if i == 2 { b == b':' } else { b.is_ascii_digit() }));
    fits && fraction != 1 && is_offset
}

fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|v| is_shallow(v, depth - 1)),
        Value::Object(fields) => depth > 0 && fields.values().all(|v| is_shallow(v, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl CloudEvent {
    /// Reads the structured form.
    ///
    /// # Errors
    /// [`NotAnEvent`] says what is wrong.
    pub fn structured(body: &[u8]) -> Result<Self, NotAnEvent> {
        let value: Value =
            serde_json::from_slice(body).map_err(|e| NotAnEvent(format!("its body is not JSON: {e}")))?;
        Self::try_from(value)
    }

    /// Reads the binary form: attributes from headers named `ce-…` (any case), the data from the body.
    ///
    /// # Errors
    /// [`NotAnEvent`] says what is wrong.
    pub fn binary<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, NotAnEvent> {
        let mut fields = Map::new();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let Some(name) = name.strip_prefix(HEADER_PREFIX) else { continue };
            if matches!(name, "data" | "data_base64" | "datacontenttype") {
                return Err(NotAnEvent(format!("`{name}` cannot be a header `{HEADER_PREFIX}{name}`")));
            }
            fields.insert(name.to_owned(), decode_header(value)?.into());
        }
        if let Some(content_type) = content_type {
            fields.insert("datacontenttype".into(), content_type.into());
        }
        if !body.is_empty() {
            let kind = content_type.unwrap_or("application/json");
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let text = || std::str::from_utf8(body).map(|t| Value::String(t.to_owned()));
            let (name, value) = if kind.ends_with("/json") || kind.ends_with("+json") {
                let value = serde_json::from_slice(body);
                ("data", value.map_err(|e| NotAnEvent(format!("its data is not JSON: {e}")))?)
            } else if kind.starts_with("text/") {
                ("data", text().map_err(|e| NotAnEvent(format!("its data is not UTF-8: {e}")))?)
            } else {
                ("data_base64", STANDARD.encode(body).into())
            };
            fields.insert(name.into(), value);
        }
        Self::try_from(Value::Object(fields))
    }

    /// Reads whichever form headers and body have: structured where the content type says so or where there is no `ce-…` header.
    ///
    /// # Errors
    /// [`NotAnEvent`] says what is wrong.
    pub fn read<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h str)> + Clone,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, NotAnEvent> {
        let kind = content_type.unwrap_or_default();
        if kind.starts_with("application/cloudevents-batch") {
            return Err(NotAnEvent("it is a batch; send its events one by one".into()));
        }
        let mut names = headers.clone().into_iter();
        let is_binary = !kind.starts_with("application/cloudevents")
            && names.any(|(name, _)| name.get(..3).is_some_and(|p| p.eq_ignore_ascii_case(HEADER_PREFIX)));
        if is_binary { Self::binary(headers, content_type, body) } else { Self::structured(body) }
    }

    /// The JSON object of the structured form.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// An attribute; none where the event does not have it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// `source`.
    #[must_use]
    pub fn source(&self) -> &str {
        self.text("source")
    }

    /// `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type")
    }

    /// The data; `null` where there is none, Base64 text where it is binary.
    #[must_use]
    pub fn data(&self) -> &Value {
        self.0.get("data").or_else(|| self.0.get("data_base64")).unwrap_or(&Value::Null)
    }

    /// Two events of one namespace with the same source and id are one event; this stands for both.
    #[must_use]
    pub fn identity(&self, namespace: &Namespace) -> Uuid {
        let name = format!("{namespace}\n{}\n{}", self.source(), self.id());
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
    }
}

/// Header values are percent-encoded where they are not plain ASCII.
fn decode_header(value: &str) -> Result<String, NotAnEvent> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| tail.get(..2).and_then(|h| std::str::from_utf8(h).ok())).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map_err(|e| NotAnEvent(format!("a header is not UTF-8: {e}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "com.example.a", "roomid": "r7", "data": {"n": 1}})
    }

    #[test]
    fn an_event_survives_both_codecs() {
        let event = CloudEvent::try_from(event()).unwrap();
        let packed = crate::codec::pack(&event).unwrap();
        assert_eq!(crate::codec::unpack::<CloudEvent>(&packed).unwrap(), event);
        assert_eq!(CloudEvent::structured(&serde_json::to_vec(&event).unwrap()).unwrap(), event);
    }

    #[test]
    fn the_binary_form_gives_the_same_event() {
        let headers = [("CE-ID", "1"), ("ce-source", "/s"), ("ce-type", "com.example.a"), ("ce-specversion", "1.0")];
        let read = |kind, body: &[u8]| CloudEvent::read(headers, kind, body).unwrap();
        assert_eq!(read(Some("application/json; charset=utf-8"), b"{\"n\":1}").data(), &json!({"n": 1}));
        assert_eq!(read(None, b"[1]").data(), &json!([1]));
        assert_eq!(read(Some("text/plain"), b"hello").data(), &json!("hello"));
        assert_eq!(read(Some("image/png"), &[0, 255]).attribute("data_base64"), Some(&json!("AP8=")));
        assert_eq!(read(None, b"").data(), &Value::Null);
        let percent = CloudEvent::binary(
            [("ce-id", "%C3%A4 100%"), ("ce-source", "/s"), ("ce-type", "t"), ("ce-specversion", "1.0")],
            None,
            b"",
        );
        assert_eq!(percent.unwrap().id(), "ä 100%");
    }

    #[test]
    fn what_is_no_event_is_told_so() {
        for (field, value, reason) in [
            ("id", json!(null), "no `id`"),
            ("source", json!(""), "`source`"),
            ("type", json!(5), "`type`"),
            ("specversion", json!("0.3"), "specversion"),
            ("time", json!("yesterday"), "RFC 3339"),
            ("Room", json!("x"), "lower-case"),
            ("room", json!([1]), "whole number"),
            ("data_base64", json!("AP8="), "both"),
            ("type", json!("t".repeat(300)), "EVENT_TYPE_BYTES_MAX"),
        ] {
            let mut bad = event();
            bad[field] = value;
            let error = CloudEvent::try_from(bad).unwrap_err().to_string();
            assert!(error.contains(reason), "{field}: {error}");
        }
        assert!(CloudEvent::structured(b"[]").is_err() && CloudEvent::structured(b"{").is_err());
        let batch = CloudEvent::read([], Some("application/cloudevents-batch+json"), b"[]");
        assert!(batch.unwrap_err().to_string().contains("one by one"));
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        for good in ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00.123z", "2026-01-31T12:00:00+02:00"] {
            assert!(is_time(good), "{good}");
        }
        for bad in ["", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+2:00", "ä"]
        {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn identity_is_of_namespace_source_and_id() {
        let of = |ns: &str, id: &str| {
            let mut value = event();
            value["id"] = id.into();
            CloudEvent::try_from(value).unwrap().identity(&Namespace::new(ns).unwrap())
        };
        assert_eq!(of("a", "1"), of("a", "1"));
        assert_ne!(of("a", "1"), of("a", "2"));
        assert_ne!(of("a", "1"), of("b", "1"));
    }
}
