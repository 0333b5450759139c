//! The step `mcp` against real servers: one over stdio that knows only the protocol, one over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use stepmill_protocol::problem::Standard;
use stepmill_worker::Failure;
use stepmill_worker::builtin::http::TIMEOUTS;
use stepmill_worker::builtin::{McpStep, RunRules, Runnable, Wire};
use stepmill_worker::testing::TryStep;
use wiremock::matchers::{any, body_partial_json, header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_server.py");

fn step() -> McpStep {
    McpStep::new(RunRules::default().allow(Runnable::Mcp), Wire::new(TIMEOUTS).unwrap())
}

async fn call(with: &Value) -> Result<Value, Failure> {
    TryStep::new().run(step(), with).await.result
}

fn stdio(method: &str, parameters: &Value) -> Value {
    let server = json!({ "command": "python3", "arguments": [SERVER, "--fast"], "environment": { "TOKEN": "t0k" } });
    json!({ "method": method, "parameters": parameters, "transport": { "stdio": server } })
}

#[tokio::test]
async fn a_server_over_stdio_is_started_asked_and_ended() {
    let add = json!({ "name": "add", "arguments": { "a": 2, "b": 3 } });
    let result = call(&stdio("tools/call", &add)).await.unwrap();
    assert_eq!(result["content"][0]["text"], "5");
    let told = &result["structuredContent"];
    assert_eq!((&told["arguments"], &told["token"]), (&json!(["--fast"]), &json!("t0k")));
    assert!(told["key"].as_str().unwrap().ends_with(":/do/0/step:1"), "{told}");
    assert_eq!(call(&stdio("tools/list", &json!({}))).await.unwrap()["tools"][0]["name"], "add");
}

#[tokio::test]
async fn servers_are_started_only_where_that_is_allowed() {
    let step = McpStep::new(RunRules::default().allow(Runnable::Shell), Wire::new(TIMEOUTS).unwrap());
    let with = stdio("tools/list", &json!({}));
    let failure = TryStep::new().run::<_, Value>(step, &with).await.result.unwrap_err();
    assert!(failure.problem().is(Standard::Authorization), "{failure}");
    assert!(failure.to_string().contains("`--allow-run mcp`"), "{failure}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let named = |name: &str| stdio("tools/call", &json!({ "name": name, "arguments": {} }));
    let failure = call(&named("fail")).await.unwrap_err();
    assert!(failure.problem().is(Standard::Runtime) && failure.is_retryable(), "{failure}");
    assert!(failure.to_string().contains("out of luck"), "{failure}");
    let failure = call(&named("unknown")).await.unwrap_err();
    assert!(failure.problem().is(Standard::Runtime) && !failure.is_retryable(), "{failure}");
    assert!(failure.to_string().contains("error -32602: no such tool"), "{failure}");
    let failure = call(&named("leave")).await.unwrap_err();
    assert!(failure.problem().is(Standard::Communication) && failure.is_retryable(), "{failure}");
    let mut hang = named("hang");
    hang["timeout"] = 700.into();
    let failure = call(&hang).await.unwrap_err();
    assert!(failure.problem().is(Standard::Timeout) && failure.is_retryable(), "{failure}");
    let missing = json!({ "method": "tools/list", "transport": { "stdio": { "command": "/no/such/server" } } });
    let failure = call(&missing).await.unwrap_err();
    assert!(failure.problem().is(Standard::Communication), "{failure}");
}

#[tokio::test]
async fn secrets_do_not_come_back() {
    let mut with = stdio("tools/call", &json!({ "name": "fail", "arguments": {} }));
    with["transport"]["stdio"]["environment"]["TOKEN"] = TryStep::secret_reference("key").into();
    let tried = TryStep::new().secret("key", "hunter2").run::<_, Value>(step(), &with).await;
    let shown = serde_json::to_string(tried.result.unwrap_err().problem()).unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("[secret key]"), "{shown}");
}

/// Tells what it was asked, by whom.
#[derive(Clone)]
struct Teller;

impl rmcp::ServerHandler for Teller {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let parts = context.extensions.get::<hyper::http::request::Parts>().unwrap();
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let told = json!({
            "name": request.name, "arguments": request.arguments,
            "meta": context.meta, "authorization": header("authorization"), "team": header("x-team"),
        });
        Ok(CallToolResult::structured(told).into())
    }
}

/// A server over HTTP; its address.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = StreamableHttpService::new(
        || Ok(Teller),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = served.await;
            });
        }
    });
    format!("http://{address}/mcp")
}

#[tokio::test]
async fn a_server_over_http_gets_headers_credentials_and_the_key() {
    let authority = MockServer::start().await;
    let token = json!({ "access_token": "t9", "expires_in": 300 });
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(token)).expect(1).mount(&authority).await;
    let policy =
        json!({ "oauth2": { "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me" } } });
    let with = json!({
        "method": "tools/call",
        "parameters": { "name": "tell", "arguments": { "a": 1 }, "_meta": { "mine": 2 } },
        "transport": { "http": { "endpoint": { "uri": serve().await, "authentication": policy }, "headers": { "x-team": "blue" } } },
        "client": { "name": "shop", "version": "3" },
    });
    let step = step();
    for _ in 0..2 {
        let result: Value = TryStep::new().run(step.clone(), &with).await.result.unwrap();
        let told = &result["structuredContent"];
        assert_eq!((&told["name"], &told["arguments"]), (&json!("tell"), &json!({ "a": 1 })));
        assert_eq!((&told["authorization"], &told["team"]), (&json!("Bearer t9"), &json!("blue")));
        assert_eq!(told["meta"]["mine"], 2);
        assert!(told["meta"]["stepmill.dev/idempotency-key"].is_string(), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_or_is_away_is_told_by_the_standard_s_kinds() {
    let to = |uri: String| json!({ "method": "tools/list", "transport": { "http": { "endpoint": uri } } });
    let failure = call(&to("http://127.0.0.1:1/mcp".into())).await.unwrap_err();
    assert!(failure.problem().is(Standard::Communication) && failure.is_retryable(), "{failure}");
    for (status, kind) in [(401, Standard::Authentication), (503, Standard::Communication)] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).insert_header("www-authenticate", "Bearer realm=\"x\"");
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let failure = call(&to(server.uri())).await.unwrap_err();
        assert!(failure.problem().is(kind), "{status}: {failure}");
    }
    let silent = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).mount(&silent).await;
    let mut with = to(silent.uri());
    with["timeout"] = 200.into();
    assert!(call(&with).await.unwrap_err().problem().is(Standard::Timeout));
}

#[tokio::test]
async fn refusals_keep_their_status_and_what_follows_from_it() {
    let with = |uri: &str| {
        let uri = format!("{uri}/mcp?key=hunter2");
        json!({ "method": "tools/list", "transport": { "http": { "endpoint": uri } } })
    };
    for (status, kind, retryable) in [
        (400, Standard::Communication, false),
        (401, Standard::Authentication, false),
        (403, Standard::Authorization, false),
        (404, Standard::Communication, false),
        (302, Standard::Communication, false),
        (429, Standard::Communication, true),
        (503, Standard::Communication, true),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).insert_header("retry-after", "7").set_body_string("not today");
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let failure = call(&with(&server.uri())).await.unwrap_err();
        assert!(failure.problem().is(kind) && failure.is_retryable() == retryable, "{status}: {failure}");
        assert_eq!(failure.problem().status, status, "{failure}");
        assert_eq!(failure.delay(), retryable.then_some(Duration::from_secs(7)), "{status}");
    }
    let failure = call(&with("http://127.0.0.1:1")).await.unwrap_err();
    let shown = serde_json::to_string(failure.problem()).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_token_that_was_withdrawn_is_replaced() {
    let (authority, server) = (MockServer::start().await, MockServer::start().await);
    for (token, times) in [("old", 1), ("new", 1)] {
        let given = json!({ "access_token": token, "expires_in": 300 });
        let answer = ResponseTemplate::new(200).set_body_json(given);
        Mock::given(any()).respond_with(answer).up_to_n_times(times).expect(times).mount(&authority).await;
    }
    let accepted = |token: &str| header("authorization", format!("Bearer {token}").as_str());
    // The first call is answered with an error of the protocol, the second one is refused while it shows the same token.
    let error = json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32600, "message": "so it got through" } });
    let answer = ResponseTemplate::new(200).set_body_json(error);
    Mock::given(accepted("old")).respond_with(answer.clone()).up_to_n_times(1).mount(&server).await;
    Mock::given(accepted("old")).respond_with(ResponseTemplate::new(401)).expect(1).mount(&server).await;
    Mock::given(accepted("new")).respond_with(answer).expect(1).mount(&server).await;
    let policy =
        json!({ "oauth2": { "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me" } } });
    let endpoint = json!({ "uri": server.uri(), "authentication": policy });
    let with = json!({ "method": "tools/list", "transport": { "http": { "endpoint": endpoint } } });
    let step = step();
    for _ in 0..2 {
        let failure = TryStep::new().run::<_, Value>(step.clone(), &with).await.result.unwrap_err();
        assert!(failure.to_string().contains("so it got through"), "{failure}");
    }
}

/// A server that takes its time to end the session, after the call was answered.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_end_of_the_connection() {
    let server = MockServer::start().await;
    let answer = |result: Value| {
        move |request: &wiremock::Request| {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let body = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
            ResponseTemplate::new(200).insert_header("mcp-session-id", "s1").set_body_json(body)
        }
    };
    let about = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": { "name": "slow", "version": "1" } });
    let slow = ResponseTemplate::new(204).set_delay(Duration::from_secs(60));
    Mock::given(method("DELETE")).respond_with(slow).mount(&server).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(405)).mount(&server).await;
    Mock::given(body_partial_json(json!({ "method": "initialize" }))).respond_with(answer(about)).mount(&server).await;
    Mock::given(body_partial_json(json!({ "method": "notifications/initialized" })))
        .respond_with(ResponseTemplate::new(202))
        .mount(&server)
        .await;
    Mock::given(body_partial_json(json!({ "method": "tools/list" })))
        .respond_with(answer(json!({ "tools": [] })))
        .expect(1)
        .mount(&server)
        .await;
    let with =
        json!({ "method": "tools/list", "timeout": 10_000, "transport": { "http": { "endpoint": server.uri() } } });
    let begin = std::time::Instant::now();
    assert_eq!(call(&with).await.unwrap()["tools"], json!([]));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}
