//! One HTTP call from the finished request to the step's output, for every step that makes one. It never repeats a call:
//! the step's retry policy does.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use reqwest::{Method, Request, Url};
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::auth::Authentication;
use super::endpoint::{without_query, wrong};
use super::http_answer::{Form, content, headers_value, raw};
use super::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::net;

/// What is sent, and what to make of the answer.
pub(super) struct HttpRequest<'c> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) authentication: Option<&'c Authentication>,
    pub(super) output: Form,
    pub(super) redirect: bool,
}

impl HttpRequest<'_> {
    /// Makes the call.
    pub(super) async fn carry_out(self, wire: &Wire, ctx: &Context) -> Result<Value, Failure> {
        let Self { method, url, headers, body, authentication, output, redirect } = self;
        let what = format!("{method} {}", without_query(&url));
        let mut request = Request::new(method.clone(), url.clone());
        *request.headers_mut() = headers.clone();
        *request.body_mut() = body.map(Into::into);
        let mut response = wire.send(ctx, request, authentication, &what).await?;
        let status = response.status();
        let body = net::read_body(&mut response, &what).await;
        if !(status.is_success() || (redirect && status.is_redirection())) {
            // Of a refusal that is too long to read the status is enough.
            return Err(net::refused(&what, status, response.headers(), &body.unwrap_or_default()));
        }
        let body = body?;
        if output == Form::Raw {
            return Ok(raw(&body));
        }
        let content = content(response.headers(), body).map_err(|e| {
            let text = format!("{what} answered {} with a body that says it is JSON and is not: {e}", status.as_u16());
            Failure::new(Problem::standard(Standard::Communication, text), true)
        })?;
        Ok(match output {
            Form::Raw | Form::Content => content,
            Form::Response => json!({
                "request": ctx.hide_secrets(json!({
                    "method": method.as_str(),
                    "uri": url.as_str(),
                    "headers": headers_value(&without_credentials(headers)),
                })),
                "statusCode": status.as_u16(),
                "headers": headers_value(response.headers()),
                "content": content,
            }),
        })
    }
}

/// Text as it is, everything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The headers of a call: its idempotency key, and those that are given.
pub(super) fn headers(given: Option<&Map<String, Value>>, ctx: &Context) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_str(ctx.idempotency_key())
        .map_err(|_| wrong("the step's path does not fit into a header; rename the task".into()))?;
    headers.insert(net::IDEMPOTENCY_KEY, key);
    for (name, value) in given.into_iter().flatten() {
        if !value.is_null() {
            let (name, value) = header(name, &plain(value))?;
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

/// One header.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let bad = |why: &str| wrong(format!("header `{name}` {why}; correct `headers`"));
    let value = HeaderValue::from_str(value).map_err(|_| bad("has a value that no header can have"))?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("has a name that no header can have"))?;
    Ok((name, value))
}

/// The bytes of a body, by its own type and by the content type, which is set where there is none.
pub(super) fn body(body: Option<&Value>, headers: &mut HeaderMap) -> Result<Option<Vec<u8>>, Failure> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match body {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone().into_bytes())),
        Some(Value::Object(fields)) if kind.starts_with("application/x-www-form-urlencoded") => {
            Ok(Some(form(fields).into_bytes()))
        }
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            let text = serde_json::to_vec(value).map_err(|e| wrong(format!("the body has no JSON form: {e}")))?;
            Ok(Some(text))
        }
    }
}

/// Fields as forms send them.
pub(super) fn form(fields: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) => pairs.extend(items.iter().map(|item| (name, plain(item)))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => pairs.push((name, plain(value))),
        }
    }
    // The same encoding as in a URL's query.
    let url = Url::parse_with_params("http://form/", pairs);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

fn without_credentials(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(AUTHORIZATION);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(COOKIE);
    headers
}
