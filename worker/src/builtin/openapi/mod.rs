//! The step `openapi`: one call of an operation that an OpenAPI document describes, in the shape of the standard's
//! `call: openapi`.

mod document;
mod style;

use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use self::document::{Operation, Place};
use super::auth::Authentication;
use super::endpoint::{Endpoint, Kept, fetch, url, wrong};
use super::http_answer::Form;
use super::http_call::{HttpRequest, form, header, headers, plain};
use super::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;

/// The name of this step.
pub const KIND: &str = "openapi";
/// The name under which `parameters` holds the request's body.
const BODY: &str = "body";

/// The step. Documents are kept for a while.
#[derive(Clone, Debug)]
pub struct OpenApiStep {
    wire: Wire,
    documents: Arc<Kept<Value>>,
}

/// `with:` of the call, with all expressions evaluated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OpenApiCall {
    document: Value,
    operation_id: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    authentication: Option<Authentication>,
    #[serde(default)]
    output: Form,
    #[serde(default)]
    redirect: bool,
}

impl OpenApiStep {
    /// The step over the connections that other steps use, too.
    #[must_use]
    pub fn on(wire: Wire) -> Self {
        Self { wire, documents: Arc::default() }
    }
}

impl Handler<OpenApiCall, Value> for OpenApiStep {
    async fn run(&self, ctx: Context, call: OpenApiCall) -> Result<Value, Failure> {
        let endpoint: Endpoint =
            serde_json::from_value(call.document.clone()).map_err(|e| wrong(format!("`document`: {e}")))?;
        let at = endpoint.url()?;
        let document = self.documents.get(&call.document, read(&self.wire, &ctx, &endpoint)).await?;
        let operation = Operation::find(&document, &call.operation_id, &at).map_err(wrong)?;
        let mut headers = headers(None, &ctx)?;
        let (url, body) = fill(&operation, &call.parameters, &mut headers)?;
        let request = HttpRequest {
            method: operation.method,
            url,
            headers,
            body,
            authentication: call.authentication.as_ref(),
            output: call.output,
            redirect: call.redirect,
        };
        request.carry_out(&self.wire, &ctx).await
    }
}

/// The document at an endpoint, JSON or YAML.
async fn read(wire: &Wire, ctx: &Context, endpoint: &Endpoint) -> Result<Value, Failure> {
    let bytes = fetch(wire, ctx, endpoint).await?;
    let bad = |why: String| {
        let text = format!("the OpenAPI document cannot be read: {why}");
        Failure::new(Problem::standard(Standard::Communication, text), false)
    };
    if let Ok(document) = serde_json::from_slice(&bytes) {
        return Ok(document);
    }
    let text = String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|e| bad(e.to_string()))
}

/// Puts the given values where the operation wants them.
fn fill(
    operation: &Operation,
    given: &Map<String, Value>,
    headers: &mut HeaderMap,
) -> Result<(Url, Option<Vec<u8>>), Failure> {
    let values = |name: &str| given.get(name).filter(|value| !value.is_null());
    check_names(operation, given)?;
    let mut path = operation.path.clone();
    let mut query = Vec::new();
    let mut cookies = Vec::new();
    let mut fields = Map::new();
    for parameter in &operation.parameters {
        let name = parameter.name.as_str();
        let Some(value) = values(name) else {
            if parameter.required {
                return Err(wrong(format!(
                    "the operation needs `{name}` ({}); add it to `parameters`",
                    parameter.place
                )));
            }
            continue;
        };
        match parameter.place {
            Place::Path => {
                path = path.replace(&format!("{{{name}}}"), &style::path(parameter, value));
                if path.split('/').any(|segment| matches!(segment, "." | "..")) {
                    let text = format!(
                        "parameter `{name}` is {value}, which leads to another place than `{}`",
                        operation.path
                    );
                    return Err(wrong(text));
                }
            }
            Place::Query => query.extend(style::query(parameter, value)),
            Place::Header => {
                let (name, value) = header(name, &style::header(parameter, value))?;
                headers.insert(name, value);
            }
            Place::Cookie => cookies.extend(style::cookie(parameter, value)),
            Place::Form => drop(fields.insert(name.to_owned(), value.clone())),
        }
    }
    if !cookies.is_empty() {
        headers.insert(COOKIE, header("cookie", &cookies.join("; "))?.1);
    }
    let mut url = url(&format!("{}{path}", operation.server))?;
    if !query.is_empty() {
        let before = url.query().map(|q| format!("{q}&")).unwrap_or_default();
        url.set_query(Some(&format!("{before}{}", query.join("&"))));
    }
    let body = match (&operation.body, values(BODY)) {
        (Some(body), Some(value)) => Some(encode(&body.media, value, headers)?),
        (Some(body), None) if body.required => {
            return Err(wrong(format!("the operation needs a body; add it to `parameters` as `{BODY}`")));
        }
        (Some(_) | None, _) if !fields.is_empty() => {
            Some(encode("application/x-www-form-urlencoded", &Value::Object(fields), headers)?)
        }
        (Some(_) | None, _) => None,
    };
    Ok((url, body))
}

/// Refuses values that nothing in the operation takes: most often a typing mistake.
fn check_names(operation: &Operation, given: &Map<String, Value>) -> Result<(), Failure> {
    let mut known: Vec<&str> = operation.parameters.iter().map(|p| p.name.as_str()).collect();
    known.extend(operation.body.is_some().then_some(BODY));
    match given.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) if known.is_empty() => {
            Err(wrong(format!("the operation takes no parameters, but `{name}` is given")))
        }
        Some(name) => Err(wrong(format!("the operation has no parameter `{name}`; it takes {}", known.join(", ")))),
    }
}

/// The bytes of a body of this media type.
fn encode(media: &str, value: &Value, headers: &mut HeaderMap) -> Result<Vec<u8>, Failure> {
    let kind = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let bytes = match (kind.as_str(), value) {
        ("application/x-www-form-urlencoded", Value::Object(fields)) => form(fields).into_bytes(),
        (kind, value) if kind == "application/json" || kind.ends_with("+json") || kind == "*/*" => {
            serde_json::to_vec(value).map_err(|e| wrong(format!("the body has no JSON form: {e}")))?
        }
        (kind, _) if kind.starts_with("multipart/") => {
            return Err(wrong(format!("the operation wants a body of type {kind}, which step `openapi` cannot send")));
        }
        (_, value) => plain(value).into_bytes(),
    };
    let media = if kind == "*/*" { "application/json" } else { media };
    let value = HeaderValue::from_str(media).map_err(|_| wrong("the document's media type fits no header".into()))?;
    headers.insert(CONTENT_TYPE, value);
    Ok(bytes)
}
