//! The step `http`: one HTTP call in the shape of the standard's `call: http`. It never repeats a call: the step's
//! retry policy does.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::http_answer::{Form, content, headers_value, raw};
use super::http_auth::{self, Authentication};
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::net::{self, Timeouts};

/// The name of this step.
pub const KIND: &str = "http";
/// What `http` takes unless said otherwise.
pub const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(10), overall: Duration::from_secs(60) };

/// The step. Connections are shared by all calls of a worker.
#[derive(Clone, Debug)]
pub struct HttpStep {
    client: Client,
}

/// `with:` of the call, with all expressions evaluated and the template of the endpoint filled.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCall {
    method: String,
    endpoint: Endpoint,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    query: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    output: Form,
    #[serde(default)]
    redirect: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Endpoint {
    Uri(String),
    Configured {
        uri: String,
        #[serde(default)]
        authentication: Option<Authentication>,
    },
}

impl HttpStep {
    /// The step with these timeouts; a step's deadline, where it is nearer, ends a call too.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        Ok(Self { client: net::client(timeouts)? })
    }
}

impl Handler<HttpCall, Value> for HttpStep {
    async fn run(&self, ctx: Context, call: HttpCall) -> Result<Value, Failure> {
        let (uri, auth) = match &call.endpoint {
            Endpoint::Uri(uri) => (uri, None),
            Endpoint::Configured { uri, authentication } => (uri, authentication.as_ref()),
        };
        let method = method(&call.method)?;
        let url = url(uri, call.query.as_ref())?;
        // For people and errors: the query may hold personal data and secrets.
        let what = format!("{method} {}", without_query(&url));
        let mut headers = headers(call.headers.as_ref(), &ctx)?;
        let request = self.client.request(method.clone(), url.clone());
        let request = match auth {
            Some(auth) => http_auth::apply(auth, request)?,
            None => request,
        };
        let request = body(request, call.body.as_ref(), &mut headers)?;
        let sent = headers.clone();
        let mut response = request.headers(headers).send().await.map_err(|e| net::broken(&what, e))?;
        let status = response.status();
        let body = net::read_body(&mut response, &what).await;
        let fine = status.is_success() || (call.redirect && status.is_redirection());
        if !fine {
            // Of a refusal that is too long to read the status is enough.
            return Err(net::refused(&what, status, response.headers(), &body.unwrap_or_default()));
        }
        let body = body?;
        if call.output == Form::Raw {
            return Ok(raw(&body));
        }
        let content = content(response.headers(), body).map_err(|e| {
            let text = format!("{what} answered {} with a body that says it is JSON and is not: {e}", status.as_u16());
            Failure::new(Problem::standard(Standard::Communication, text), true)
        })?;
        Ok(match call.output {
            Form::Raw | Form::Content => content,
            Form::Response => json!({
                "request": ctx.hide_secrets(json!({
                    "method": method.as_str(),
                    "uri": url.as_str(),
                    "headers": headers_value(&without_credentials(sent)),
                })),
                "statusCode": status.as_u16(),
                "headers": headers_value(response.headers()),
                "content": content,
            }),
        })
    }
}

fn wrong(text: String) -> Failure {
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

fn method(text: &str) -> Result<Method, Failure> {
    Method::from_bytes(text.to_ascii_uppercase().as_bytes())
        .map_err(|_| wrong(format!("`method: {text}` is no HTTP method; use get, post, put, patch, delete …")))
}

fn url(uri: &str, query: Option<&Map<String, Value>>) -> Result<Url, Failure> {
    let mut url =
        Url::parse(uri).map_err(|e| wrong(format!("the endpoint is not a full URL: {e}; correct `endpoint`")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!(
            "the endpoint's scheme `{}` is not http or https; correct `endpoint`",
            url.scheme()
        )));
    }
    for (name, value) in query.into_iter().flatten() {
        let values = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => vec![value],
        };
        for value in values {
            url.query_pairs_mut().append_pair(name, &plain(value));
        }
    }
    Ok(url)
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // A URL that can be called has a host, so that these cannot fail.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url
}

/// Text as it is, everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn headers(given: Option<&Map<String, Value>>, ctx: &Context) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let key = HeaderValue::from_str(ctx.idempotency_key())
        .map_err(|_| wrong("the step's path does not fit into a header; rename the task".into()))?;
    headers.insert(net::IDEMPOTENCY_KEY, key);
    for (name, value) in given.into_iter().flatten() {
        if value.is_null() {
            continue;
        }
        let bad = |why: &str| wrong(format!("header `{name}` {why}; correct `headers`"));
        let value = HeaderValue::from_str(&plain(value)).map_err(|_| bad("has a value that no header can have"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("has a name that no header can have"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn body(request: RequestBuilder, body: Option<&Value>, headers: &mut HeaderMap) -> Result<RequestBuilder, Failure> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match body {
        None | Some(Value::Null) => Ok(request),
        Some(Value::String(text)) => Ok(request.body(text.clone())),
        Some(Value::Object(fields)) if kind.starts_with("application/x-www-form-urlencoded") => {
            let fields: Vec<(&String, String)> = fields.iter().map(|(name, value)| (name, plain(value))).collect();
            Ok(request.form(&fields))
        }
        Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            let text = serde_json::to_vec(value).map_err(|e| wrong(format!("the body has no JSON form: {e}")))?;
            Ok(request.body(text))
        }
    }
}

fn without_credentials(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(AUTHORIZATION);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(reqwest::header::COOKIE);
    headers
}
