//! What an OpenAPI document (3.x, or 2.0 as many services still publish it) says about one operation.

use std::fmt;

use reqwest::{Method, Url};
use serde_json::{Map, Value};

use crate::limit;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// Below the server, with places to fill.
    pub(super) path: String,
    /// A full URL without a slash at its end.
    pub(super) server: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
}

/// One of its parameters.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) style: String,
    pub(super) explode: bool,
    /// Written as JSON instead of in a style.
    pub(super) json: bool,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
    /// A field of a form (2.0 only).
    Form,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "in the path",
            Self::Query => "in the query",
            Self::Header => "a header",
            Self::Cookie => "a cookie",
            Self::Form => "a field of the form",
        })
    }
}

/// Its body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media: String,
    pub(super) required: bool,
}

impl Operation {
    /// The operation with this id. `at` is where the document came from.
    pub(super) fn find(document: &Value, id: &str, at: &Url) -> Result<Self, String> {
        let old = match (text(document, "openapi"), text(document, "swagger")) {
            (Some(version), _) if version.starts_with("3.") => false,
            (None, Some(version)) if version.starts_with("2.") => true,
            (Some(version), _) | (None, Some(version)) => {
                return Err(format!("OpenAPI {version} is not known; the document must be of version 3.x or 2.0"));
            }
            (None, None) => return Err("the document at `document.endpoint` is not an OpenAPI document".into()),
        };
        let empty = Map::new();
        let paths = document.get("paths").and_then(Value::as_object).unwrap_or(&empty);
        let (mut ids, mut elsewhere) = (Vec::new(), None);
        for (path, item) in paths {
            // What cannot be read matters only if the operation is not found otherwise.
            let item = match resolve(document, item) {
                Ok(item) => item,
                Err(reason) => {
                    elsewhere = Some(reason);
                    continue;
                }
            };
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                match text(operation, "operationId") {
                    Some(found) if found == id => return Self::read(document, at, path, item, method, operation, old),
                    Some(other) => ids.push(other),
                    None => {}
                }
            }
        }
        ids.truncate(20);
        let unread = elsewhere.map_or_else(String::new, |reason| format!("; a part of it cannot be read: {reason}"));
        Err(format!("the document has no operation `{id}`; it has {}{unread}", ids.join(", ")))
    }

    fn read(
        document: &Value,
        at: &Url,
        path: &str,
        item: &Value,
        method: &str,
        operation: &Value,
        old: bool,
    ) -> Result<Self, String> {
        let mut all: Vec<&Value> = Vec::new();
        // What the operation says goes before what its path says for all of its operations.
        for owner in [operation, item] {
            for parameter in owner.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                let parameter = resolve(document, parameter)?;
                let same =
                    |p: &&Value| text(p, "name") == text(parameter, "name") && text(p, "in") == text(parameter, "in");
                if !all.iter().any(same) {
                    all.push(parameter);
                }
            }
        }
        let mut parameters = Vec::new();
        let mut body = None;
        for parameter in all {
            if text(parameter, "in") == Some("body") {
                body =
                    Some(Body { media: consumed(document, operation), required: flag(parameter, "required", false) });
            } else {
                parameters.push(Parameter::read(parameter, old)?);
            }
        }
        if let Some(request) = operation.get("requestBody") {
            let request = resolve(document, request)?;
            let media = media(request.get("content").and_then(Value::as_object));
            body = Some(Body { media, required: flag(request, "required", false) });
        }
        let server = if old { old_server(document, at)? } else { server(&[operation, item, document], at)? };
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|e| e.to_string())?;
        Ok(Self { method, path: path.to_owned(), server, parameters, body })
    }
}

impl Parameter {
    fn read(parameter: &Value, old: bool) -> Result<Self, String> {
        let name = text(parameter, "name").ok_or("a parameter of the operation has no name")?.to_owned();
        let place = match text(parameter, "in") {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            Some("formData") => Place::Form,
            Some(_) | None => return Err(format!("parameter `{name}` of the operation does not say where it goes")),
        };
        let usual = if matches!(place, Place::Query | Place::Cookie) { "form" } else { "simple" };
        let (style, explode) = match (old, text(parameter, "collectionFormat")) {
            (true, Some("multi")) => ("form", true),
            (true, Some("ssv")) => ("spaceDelimited", false),
            (true, Some("pipes")) => ("pipeDelimited", false),
            (true, Some(_) | None) => (usual, false),
            (false, _) => {
                let style = text(parameter, "style").unwrap_or(usual);
                (style, flag(parameter, "explode", style == "form"))
            }
        };
        Ok(Self {
            name,
            place,
            required: place == Place::Path || flag(parameter, "required", false),
            style: style.to_owned(),
            explode,
            json: parameter.get("content").is_some(),
        })
    }
}

/// Follows references within the document.
fn resolve<'d>(document: &'d Value, mut value: &'d Value) -> Result<&'d Value, String> {
    for _ in 0..limit::REFERENCES_MAX {
        let Some(reference) = text(value, "$ref") else { return Ok(value) };
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("the document refers to `{reference}`; only references within it are followed"))?;
        value =
            document.pointer(pointer).ok_or_else(|| format!("the document refers to `{reference}`, which it lacks"))?;
    }
    Err(format!("references of the document lead on more than {} times (REFERENCES_MAX)", limit::REFERENCES_MAX))
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn flag(value: &Value, key: &str, usual: bool) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(usual)
}

/// The media type to send: JSON where it may be.
fn media(content: Option<&Map<String, Value>>) -> String {
    let kinds: Vec<&String> = content.into_iter().flat_map(Map::keys).collect();
    let json = kinds.iter().find(|k| k.contains("json")).or_else(|| kinds.iter().find(|k| k.contains("urlencoded")));
    json.or(kinds.first()).map_or_else(|| "application/json".into(), ToString::to_string)
}

fn consumed(document: &Value, operation: &Value) -> String {
    let list = operation.get("consumes").or_else(|| document.get("consumes")).and_then(Value::as_array);
    let kinds: Vec<&str> = list.into_iter().flatten().filter_map(Value::as_str).collect();
    let json = kinds.iter().find(|k| k.contains("json")).or(kinds.first());
    json.map_or_else(|| "application/json".into(), ToString::to_string)
}

/// The first server of the nearest owner that has any, as a full URL.
fn server(owners: &[&Value], at: &Url) -> Result<String, String> {
    let servers = owners.iter().filter_map(|owner| owner.get("servers")?.as_array()?.first());
    let Some(server) = servers.into_iter().next() else { return joined(at, "/") };
    let mut url = text(server, "url").unwrap_or("/").to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        let usual = text(variable, "default").unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), usual);
    }
    joined(at, &url)
}

fn old_server(document: &Value, at: &Url) -> Result<String, String> {
    let schemes = document.get("schemes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let schemes: Vec<&str> = schemes.collect();
    let scheme = ["https", "http"].into_iter().find(|s| schemes.contains(s)).unwrap_or(at.scheme());
    let base = text(document, "basePath").unwrap_or("/");
    match text(document, "host") {
        Some(host) => joined(at, &format!("{scheme}://{host}{base}")),
        None => joined(at, base),
    }
}

fn joined(at: &Url, server: &str) -> Result<String, String> {
    let url = at.join(server).map_err(|e| format!("the document's server `{server}` is no URL: {e}"))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at() -> Url {
        Url::parse("http://docs.example.com/api/openapi.json").unwrap()
    }

    #[test]
    fn the_nearest_server_counts_and_may_be_relative() {
        let document = |servers: Value| json!({ "openapi": "3.1.0", "servers": servers, "paths": { "/a": { "get": { "operationId": "a" } } } });
        let server = |servers: Value| Operation::find(&document(servers), "a", &at()).unwrap().server;
        assert_eq!(server(json!([])), "http://docs.example.com");
        assert_eq!(server(json!([{ "url": "/v1/" }])), "http://docs.example.com/v1");
        assert_eq!(server(json!([{ "url": "v2" }])), "http://docs.example.com/api/v2");
        let variables = json!({ "region": { "default": "eu" } });
        assert_eq!(server(json!([{ "url": "https://{region}.h/x", "variables": variables }])), "https://eu.h/x");
        let old = json!({ "swagger": "2.0", "host": "h:1", "basePath": "/v2", "schemes": ["http", "https"],
            "paths": { "/a": { "get": { "operationId": "a" } } } });
        assert_eq!(Operation::find(&old, "a", &at()).unwrap().server, "https://h:1/v2");
    }

    #[test]
    fn parameters_of_operation_and_path_are_put_together_over_references() {
        let document = json!({
            "openapi": "3.0.3",
            "components": {
                "parameters": { "id": { "name": "id", "in": "path", "required": true } },
                "requestBodies": { "pet": { "required": true, "content": { "text/xml": {}, "application/json": {} } } }
            },
            "paths": { "/a/{id}": {
                "parameters": [{ "$ref": "#/components/parameters/id" }, { "name": "q", "in": "query" }],
                "put": { "operationId": "a", "requestBody": { "$ref": "#/components/requestBodies/pet" },
                         "parameters": [{ "name": "q", "in": "query", "required": true, "style": "pipeDelimited" }] }
            } }
        });
        let operation = Operation::find(&document, "a", &at()).unwrap();
        let shown: Vec<_> = operation.parameters.iter().map(|p| (p.name.as_str(), p.required, p.explode)).collect();
        assert_eq!(shown, [("q", true, false), ("id", true, false)]);
        let body = operation.body.unwrap();
        assert_eq!((body.media.as_str(), body.required), ("application/json", true));
    }

    #[test]
    fn what_is_wrong_with_a_document_is_said() {
        let loop_ = json!({ "openapi": "3.0.0", "paths": { "/a": { "$ref": "#/paths/~1a" } } });
        let one = json!({ "openapi": "3.0.0", "paths": { "/a": { "get": { "operationId": "known" } } } });
        for (document, expected) in [
            (json!({ "openapi": "4.0" }), "OpenAPI 4.0 is not known"),
            (json!({ "asyncapi": "2.0" }), "not an OpenAPI document"),
            (one, "no operation `a`; it has known"),
            (loop_, "REFERENCES_MAX"),
        ] {
            let said = Operation::find(&document, "a", &at()).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
