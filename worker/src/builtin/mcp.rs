//! The step `mcp`: one request to an MCP server, in the shape of the standard's `call: mcp`. Each call has a connection of
//! its own, begun with `initialize` and closed afterwards. The idempotency key goes along in `_meta`.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rmcp::ServiceExt as _;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, CustomRequest, ErrorCode, ErrorData, Implementation,
    ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, StreamableHttpClientTransportConfig,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::limit::VALUE_BYTES_MAX;
use stepmill_protocol::problem::Standard;

use super::endpoint::{Endpoint, without_query, wrong};
use super::http_call::{header, plain};
use super::process::{Group, Program, RunRules, Runnable};
use super::wire::Wire;
use crate::context::{Context, quote};
use crate::failure::{Failure, with_sources};
use crate::handler::Handler;
use crate::limit;

/// The name of this step.
pub const KIND: &str = "mcp";
/// Where in `_meta` the idempotency key is.
pub const KEY_IN_META: &str = "stepmill.dev/idempotency-key";
const USUAL_VERSION: &str = "2025-06-18";

/// The step. It starts servers only where the rules allow it.
#[derive(Clone, Debug)]
pub struct McpStep {
    rules: RunRules,
    wire: Wire,
}

/// `with:` of the call, with all expressions evaluated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct McpCall {
    #[serde(default)]
    protocol_version: Option<String>,
    method: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    /// In milliseconds.
    #[serde(default)]
    timeout: Option<u64>,
    transport: Transport,
    #[serde(default)]
    client: Option<About>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    Http(Http),
    Stdio(Command),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    endpoint: Endpoint,
    #[serde(default)]
    headers: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    command: String,
    #[serde(default)]
    arguments: Vec<Value>,
    #[serde(default)]
    environment: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: String,
    version: String,
}

impl McpStep {
    /// The step under these rules, over the connections that other steps use, too.
    #[must_use]
    pub const fn new(rules: RunRules, wire: Wire) -> Self {
        Self { rules, wire }
    }
}

impl Handler<McpCall, Value> for McpStep {
    async fn run(&self, ctx: Context, call: McpCall) -> Result<Value, Failure> {
        let timeout = call.timeout.map_or(limit::MCP_TIMEOUT, Duration::from_millis);
        let method = call.method.clone();
        let done = tokio::time::timeout(timeout, self.call(&ctx, call)).await;
        done.unwrap_or_else(|_| {
            let text = format!("the MCP server did not answer `{method}` within {} ms", timeout.as_millis());
            Err(Failure::new(Problem::standard(Standard::Timeout, text), true))
        })
    }
}

impl McpStep {
    async fn call(&self, ctx: &Context, call: McpCall) -> Result<Value, Failure> {
        let about = about(&call)?;
        let request = request(ctx, call.method.clone(), call.parameters);
        match call.transport {
            Transport::Http(http) => {
                let url = http.endpoint.url()?;
                let what = format!("the MCP server at {}", without_query(&url));
                let mut headers = HashMap::new();
                for (name, value) in http.headers.iter().filter(|(_, value)| !value.is_null()) {
                    let (name, value) = header(name, &plain(value))?;
                    headers.insert(name, value);
                }
                let shown = match &http.endpoint.authentication {
                    Some(auth) => Some((auth, self.wire.credentials(ctx, auth).await?)),
                    None => None,
                };
                headers.extend(shown.iter().map(|(_, value)| (AUTHORIZATION, value.clone())));
                let transport = self.http(url.as_str(), headers);
                let result = exchange(&what, about.serve(transport).await, request).await;
                if let (Err(failure), Some((auth, value))) = (&result, &shown)
                    && failure.problem().is(Standard::Authentication)
                {
                    self.wire.refused(auth, value).await;
                }
                result
            }
            Transport::Stdio(stdio) => {
                self.rules.check(Runnable::Mcp, ctx)?;
                let what = format!("the MCP server `{}`", stdio.command);
                let (_group, _folder, streams) = self.start(what.clone(), &stdio)?;
                exchange(&what, about.serve(streams).await, request).await
            }
        }
    }

    fn http(
        &self,
        url: &str,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> StreamableHttpClientTransport<reqwest::Client> {
        // The step's retry policy repeats calls, nothing else does.
        let config = StreamableHttpClientTransportConfig::with_uri(url)
            .custom_headers(headers)
            .max_sse_event_size(VALUE_BYTES_MAX)
            .max_json_response_size(VALUE_BYTES_MAX)
            .max_error_response_size(limit::QUOTE_BYTES_MAX)
            .reinit_on_expired_session(false);
        StreamableHttpClientTransport::with_client(self.wire.client().clone(), config)
    }

    /// A server of this call's own. It ends, with all that it has started, when the group is dropped.
    fn start(
        &self,
        what: String,
        stdio: &Command,
    ) -> Result<(Group, Program, (tokio::process::ChildStdout, tokio::process::ChildStdin)), Failure> {
        let mut program = Program::new(what, &stdio.command)?;
        program.arguments = stdio.arguments.iter().map(plain).collect();
        let variables = stdio.environment.iter().filter(|(_, value)| !value.is_null());
        program.environment = variables.map(|(name, value)| (name.clone(), plain(value))).collect();
        let (mut child, group) = program.start(&self.rules, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::retryable(format!("{} has no pipes", program.what)));
        };
        // Whoever ends the group need not wait for it; the runtime does.
        tokio::spawn(async move { child.wait().await });
        Ok((group, program, (stdout, stdin)))
    }
}

fn about(call: &McpCall) -> Result<ClientConfig, Failure> {
    let version = call.protocol_version.as_deref().unwrap_or(USUAL_VERSION);
    let version: ProtocolVersion =
        serde_json::from_value(json!(version)).map_err(|e| wrong(format!("`protocolVersion`: {e}")))?;
    let client = match &call.client {
        Some(About { name, version }) => Implementation::new(name, version),
        None => Implementation::new("stepmill", env!("CARGO_PKG_VERSION")),
    };
    Ok(ClientConfig::new(ClientCapabilities::default(), client).with_protocol_version(version))
}

fn request(ctx: &Context, method: String, parameters: Option<Map<String, Value>>) -> ClientRequest {
    let mut parameters = parameters.unwrap_or_default();
    let mut meta = match parameters.remove("_meta") {
        Some(Value::Object(meta)) => meta,
        Some(_) | None => Map::new(),
    };
    meta.insert(KEY_IN_META.into(), ctx.idempotency_key().into());
    let mut request = CustomRequest::new(method, Some(Value::Object(parameters)));
    request.extensions.insert(rmcp::model::RequestMetaObject(rmcp::model::MetaObject(meta)));
    ClientRequest::CustomRequest(request)
}

/// One request over a connection that was just made, and its result.
async fn exchange(
    what: &str,
    connection: Result<RunningService<RoleClient, ClientConfig>, ClientInitializeError>,
    request: ClientRequest,
) -> Result<Value, Failure> {
    let connection = connection.map_err(|e| not_begun(what, &e))?;
    let result = connection.send_request(request).await;
    // The answer is there: how the connection ends changes nothing.
    let _ = connection.cancel().await;
    let result = result.map_err(|e| failed(what, &e))?;
    let value = serde_json::to_value(result)
        .map_err(|e| Failure::terminal(format!("{what} gave a result that has no JSON form: {e}")))?;
    if value.get("isError").and_then(Value::as_bool) == Some(true) {
        let text = format!("a tool of {what} failed: {}", said(&value));
        return Err(Failure::new(Problem::standard(Standard::Runtime, text), true).with_extra(shortened(value)));
    }
    Ok(value)
}

/// The texts of a tool's result.
fn said(result: &Value) -> String {
    let parts = result.get("content").and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<&str> = parts.filter_map(|part| part.get("text")?.as_str()).collect();
    quote(&texts.join(" "))
}

fn shortened(result: Value) -> Value {
    if result.to_string().len() <= limit::QUOTE_BYTES_MAX { json!({ "result": result }) } else { Value::Null }
}

fn not_begun(what: &str, error: &ClientInitializeError) -> Failure {
    const HOW: &str = "could not be reached";
    if let ClientInitializeError::JsonRpcError(error) = error {
        return refused(what, error);
    }
    if let ClientInitializeError::TransportError { error, .. } = error {
        return broken(what, HOW, error.error.as_ref());
    }
    broken(what, HOW, error)
}

fn failed(what: &str, error: &ServiceError) -> Failure {
    if let ServiceError::McpError(error) = error {
        return refused(what, error);
    }
    broken(what, "did not answer", error)
}

/// The error that a server answered with, as the standard wants it.
fn refused(what: &str, error: &ErrorData) -> Failure {
    let hopeless = [
        ErrorCode::INVALID_REQUEST,
        ErrorCode::METHOD_NOT_FOUND,
        ErrorCode::INVALID_PARAMS,
        ErrorCode::RESOURCE_NOT_FOUND,
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION,
    ];
    let text = format!("{what} answered with error {}: {}", error.code.0, quote(&error.message));
    let failure = Failure::new(Problem::standard(Standard::Runtime, text), !hopeless.contains(&error.code));
    failure.with_extra(json!({ "code": error.code.0 }))
}

/// A connection that broke, by its deepest cause that says something.
fn broken(what: &str, how: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    let text = format!("{what} {how}: {}", quote(&with_sources(error)));
    let (mut kind, mut retryable, mut status) = (Standard::Communication, true, None);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<AuthRequiredError>() {
            (kind, retryable) = (Standard::Authentication, false);
        } else if error.is::<InsufficientScopeError>() {
            (kind, retryable) = (Standard::Authorization, false);
        } else if let Some(said) = error.downcast_ref::<HttpStatusError>() {
            status = Some(said.status);
        } else if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
            kind = Standard::Timeout;
        }
        cause = error.source();
    }
    let failure = Failure::new(Problem::standard(kind, text), retryable);
    match status {
        Some(status) => failure.with_status(status),
        None => failure,
    }
}
