//! The step `mcp`: one request to an MCP server, in the shape of the standard's `call: mcp`. Each call has a connection of
//! its own, begun with `initialize` and closed afterwards. The idempotency key goes along in `_meta`.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use rmcp::ServiceExt as _;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, CustomRequest, ErrorCode, ErrorData, Implementation,
    ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, ServiceError};
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::limit::VALUE_BYTES_MAX;
use stepmill_protocol::problem::Standard;

use super::auth::Authentication;
use super::endpoint::{Endpoint, without_query, wrong};
use super::http_call::{header, plain};
use super::mcp_http::Careful;
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
        let timeout = match &call.transport {
            Transport::Http(_) => timeout,
            Transport::Stdio(_) => timeout.min(self.rules.timeout),
        };
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
                self.over_http(ctx, &what, &url, headers, http.endpoint.authentication.as_ref(), (about, request)).await
            }
            Transport::Stdio(stdio) => {
                self.rules.check(Runnable::Mcp, ctx)?;
                let what = format!("the MCP server `{}`", stdio.command);
                let (group, program, (stdout, stdin)) = self.start(what.clone(), &stdio)?;
                let transport = AsyncRwTransport::new(stdout, stdin).with_max_line_length(VALUE_BYTES_MAX);
                exchange(&what, about.serve(transport).await, request, (group, program)).await.map_err(Broken::failure)
            }
        }
    }

    /// A call over HTTP. One that was refused because a token that was kept is no good any more is made a second time: it was not
    /// carried out.
    async fn over_http(
        &self,
        ctx: &Context,
        what: &str,
        url: &Url,
        headers: HashMap<HeaderName, HeaderValue>,
        auth: Option<&Authentication>,
        (about, request): (ClientConfig, ClientRequest),
    ) -> Result<Value, Failure> {
        let mut again = true;
        loop {
            let mut headers = headers.clone();
            let shown = match auth {
                Some(auth) => Some((auth, self.wire.credentials(ctx, auth).await?)),
                None => None,
            };
            headers.extend(shown.iter().map(|(_, (value, _))| (AUTHORIZATION, value.clone())));
            let client = Careful::new(self.wire.lasting().clone());
            let transport = client.connect(url.as_str(), headers);
            let broken = match exchange(what, about.clone().serve(transport).await, request.clone(), ()).await {
                Ok(value) => return Ok(value),
                Err(broken) => broken,
            };
            let refusal = client.refusal().filter(|_| !broken.answered);
            if refusal.as_ref().is_some_and(|refusal| refusal.status == StatusCode::UNAUTHORIZED)
                && let Some((auth, (value, kept))) = &shown
            {
                self.wire.refused(auth, value).await;
                if *kept && std::mem::take(&mut again) {
                    continue;
                }
            }
            return Err(refusal.map_or(broken.failure, |refusal| refusal.failure(what)));
        }
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

/// A call that brought no result.
struct Broken {
    failure: Failure,
    /// Whether the server has answered the call: then it is not about the connection.
    answered: bool,
}

impl Broken {
    fn failure(self) -> Failure {
        self.failure
    }

    const fn answered(failure: Failure) -> Self {
        Self { failure, answered: true }
    }
}

/// One request over a connection that was just made, and its result. `server` is what must live as long as the connection.
async fn exchange(
    what: &str,
    connection: Result<RunningService<RoleClient, ClientConfig>, ClientInitializeError>,
    request: ClientRequest,
    server: impl Send + 'static,
) -> Result<Value, Broken> {
    let mut connection = connection.map_err(|e| not_begun(what, &e))?;
    let result = connection.send_request(request).await;
    // What the server has said counts now: how the connection ends changes nothing, and nobody waits for it.
    tokio::spawn(async move {
        let _ = connection.close_with_timeout(limit::MCP_CLOSE_TIMEOUT).await;
        drop(server);
    });
    let result = result.map_err(|e| failed(what, &e))?;
    let value = serde_json::to_value(result)
        .map_err(|e| Broken::answered(Failure::terminal(format!("{what} gave a result that has no JSON form: {e}"))))?;
    if value.get("isError").and_then(Value::as_bool) == Some(true) {
        let text = format!("a tool of {what} failed: {}", said(&value));
        let failure = Failure::new(Problem::standard(Standard::Runtime, text), true);
        return Err(Broken::answered(failure.with_extra(shortened(value))));
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

fn not_begun(what: &str, error: &ClientInitializeError) -> Broken {
    const HOW: &str = "could not be reached";
    if let ClientInitializeError::JsonRpcError(error) = error {
        return Broken::answered(refused(what, error));
    }
    if let ClientInitializeError::TransportError { error, .. } = error {
        return broken(what, HOW, error.error.as_ref());
    }
    broken(what, HOW, error)
}

fn failed(what: &str, error: &ServiceError) -> Broken {
    if let ServiceError::McpError(error) = error {
        return Broken::answered(refused(what, error));
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

/// A connection that broke.
fn broken(what: &str, how: &str, error: &(dyn std::error::Error + 'static)) -> Broken {
    let text = format!("{what} {how}: {}", quote(&with_sources(error)));
    let is_late = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
    };
    let kind = match std::iter::successors(Some(error), |error| error.source()).any(is_late) {
        true => Standard::Timeout,
        false => Standard::Communication,
    };
    Broken { failure: Failure::new(Problem::standard(kind, text), true), answered: false }
}
