//! The step `http`: one HTTP call in the shape of the standard's `call: http`.

use std::time::Duration;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::endpoint::{Endpoint, wrong};
use super::http_answer::Form;
use super::http_call::{HttpRequest, body, headers, plain};
use super::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::net::Timeouts;

/// The name of this step.
pub const KIND: &str = "http";
/// What `http` takes unless said otherwise.
pub const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(10), overall: Duration::from_secs(60) };

/// The step. Connections and tokens are shared by all calls of a worker.
#[derive(Clone, Debug)]
pub struct HttpStep {
    wire: Wire,
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

impl HttpStep {
    /// The step with connections of its own.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        Wire::new(timeouts).map(Self::on)
    }

    /// The step over the connections that other steps use, too.
    #[must_use]
    pub const fn on(wire: Wire) -> Self {
        Self { wire }
    }
}

impl Handler<HttpCall, Value> for HttpStep {
    async fn run(&self, ctx: Context, call: HttpCall) -> Result<Value, Failure> {
        let method = method(&call.method)?;
        let url = url(&call.endpoint, call.query.as_ref())?;
        let mut headers = headers(call.headers.as_ref(), &ctx)?;
        let body = body(call.body.as_ref(), &mut headers)?;
        let authentication = call.endpoint.authentication.as_ref();
        let request =
            HttpRequest { method, url, headers, body, authentication, output: call.output, redirect: call.redirect };
        request.carry_out(&self.wire, &ctx).await
    }
}

fn method(text: &str) -> Result<Method, Failure> {
    Method::from_bytes(text.to_ascii_uppercase().as_bytes())
        .map_err(|_| wrong(format!("`method: {text}` is no HTTP method; use get, post, put, patch, delete …")))
}

fn url(endpoint: &Endpoint, query: Option<&Map<String, Value>>) -> Result<Url, Failure> {
    let mut url = endpoint.url()?;
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
