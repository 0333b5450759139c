//! The scripted model as a server: our own services ask it over HTTP in each wire format, and requests that no service
//! takes are refused as services refuse them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use stepmill_agent::provider::{Http, Service, Timeouts};
use stepmill_agent::script::Script;
use stepmill_agent::serve::ModelServer;
use stepmill_agent::types::{
    AnswerSchema, Format, Message, ModelAnswer, ModelError, ModelErrorKind, ModelRequest, Stop, Tool,
};
use stepmill_agent::wire::Style;
use stepmill_agent::{Call, Model, ScriptSource, TokenSink};
use stepmill_protocol::Millis;
use stepmill_worker::Secrets;

const FORMATS: [Format; 3] = [Format::OpenaiChat, Format::OpenaiResponses, Format::Anthropic];
const RULES: &str = r#"
model: scripted-7
rules:
  - { name: cut, when: { user: { contains: cut } }, answer: { text: this never comes to its end }, faults: [{ kind: cut_stream }] }
  - { name: busy, when: { user: { contains: busy } }, answer: { text: at last }, faults: [{ kind: rate_limited, tries: [1], retry_after_ms: 1500 }] }
  - { name: full, when: { user: { contains: full } }, answer: { text: x }, faults: [{ kind: overloaded }] }
  - { name: long, when: { user: { contains: long } }, answer: { text: x }, faults: [{ kind: context_too_long }] }
  - { name: no, when: { user: { contains: refuse } }, answer: { text: x }, faults: [{ kind: refusal }] }
  - { name: kinds, when: { schema: kinds }, answer: { json: { kind: refund } } }
  - name: agent
    when: { tool: look_up }
    answer:
      sequence:
        - { text: I look it up., tools: [{ name: look_up, arguments: { order: '#W1' } }, { name: look_up, arguments: { order: '#W2' } }] }
        - { text: Both are on their way. }
  - { name: else, answer: { text: Hello there my friend } }
"#;

/// A running server; it ends when this is dropped.
struct Running {
    server: Arc<ModelServer>,
    address: SocketAddr,
    _task: tokio::task::JoinSet<()>,
}

async fn start(rules: &str) -> Running {
    let server = ModelServer::new(Script::load(&ScriptSource::Text(rules.into())).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(Arc::clone(&server).serve(listener, std::future::pending()));
    Running { server, address, _task: task }
}

impl Running {
    fn service(&self, format: Format, stream: bool) -> Service {
        Service {
            name: "the server".into(),
            format,
            style: Style { stream, ..Style::default() },
            base_url: format!("http://{}/v1", self.address),
            key: None,
            headers: Vec::new(),
            timeouts: Timeouts::default(),
            secrets: Secrets::of([].into()),
            transport: Arc::new(Http::new(Duration::from_secs(5)).unwrap()),
        }
    }

    async fn ask(&self, format: Format, stream: bool, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        self.service(format, stream).complete(Call { request, key: "k", tries: 1, tokens: None }).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("http://{}/v1{path}", self.address));
        let answer = request.header("anthropic-version", "2023-06-01").json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

fn says(text: &str) -> ModelRequest {
    ModelRequest { model: "any".into(), messages: vec![Message::user(text)], ..ModelRequest::default() }
}

fn look_up() -> Tool {
    let parameters = json!({"type": "object", "properties": {"order": {"type": "string"}}});
    Tool { name: "look_up".into(), description: "Looks an order up.".into(), parameters }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl TokenSink for Heard {
    fn begin(&self, model: &str) {
        self.0.lock().push(format!("<{model}>"));
    }

    fn text(&self, text: &str) {
        self.0.lock().push(text.to_owned());
    }
}

#[tokio::test]
async fn a_conversation_with_tools_goes_the_same_way_in_every_format() {
    let running = start(RULES).await;
    for format in FORMATS {
        for stream in [true, false] {
            let mut request = ModelRequest { tools: vec![look_up()], ..says("where are they?") };
            let first = running.ask(format, stream, &request).await.unwrap();
            assert_eq!((first.model.as_str(), first.stop), ("scripted-7", Stop::ToolCalls), "{format:?} {stream}");
            assert_eq!(first.text(), "I look it up.");
            let calls: Vec<_> = first.tool_calls().cloned().collect();
            let orders: Vec<_> = calls.iter().map(|call| call.arguments["order"].clone()).collect();
            assert_eq!(orders, ["#W1", "#W2"]);
            assert!(first.tokens.input > 0 && first.tokens.output > 0, "{first:?}");
            request.messages.push(first.message());
            request.messages.extend(calls.iter().map(|call| Message::tool(&call.id, "on its way")));
            let second = running.ask(format, stream, &request).await.unwrap();
            assert_eq!((second.text().as_str(), second.stop), ("Both are on their way.", Stop::End));
            let schema =
                Some(AnswerSchema { name: "kinds".into(), schema: json!({"title": "kinds", "type": "object"}) });
            let classified = running.ask(format, stream, &ModelRequest { schema, ..says("x") }).await.unwrap();
            assert_eq!(classified.text(), "{\"kind\":\"refund\"}");
        }
    }
    let stats = running.server.stats();
    assert_eq!((stats.requests, stats.answers, stats.refused), (18, 18, 0), "{:?}", stats.refusals);
}

#[tokio::test]
async fn readers_get_the_words_as_they_come() {
    let running = start(RULES).await;
    for format in FORMATS {
        let heard = Heard::default();
        let call = says("hello");
        let call = Call { request: &call, key: "k", tries: 1, tokens: Some(&heard) };
        running.service(format, true).complete(call).await.unwrap();
        assert_eq!(*heard.0.lock(), ["<any>", "Hello ", "there ", "my ", "friend"], "{format:?}");
    }
}

#[tokio::test]
async fn faults_arrive_as_the_kinds_that_they_are() {
    let running = start(RULES).await;
    for format in FORMATS {
        for (text, kind) in [
            ("cut", ModelErrorKind::CutStream),
            ("full", ModelErrorKind::Overloaded),
            ("long", ModelErrorKind::ContextTooLong),
        ] {
            let error = running.ask(format, true, &says(text)).await.unwrap_err();
            assert_eq!(error.kind, kind, "{format:?} {error}");
        }
        let cut = running.ask(format, false, &says("cut")).await.unwrap_err();
        assert_eq!(cut.kind, ModelErrorKind::CutStream, "{format:?} {cut}");
        let busy = says(&format!("busy {format:?}"));
        let error = running.ask(format, true, &busy).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ModelErrorKind::RateLimit, Some(Millis(1_500))), "{format:?}");
        let second = running.ask(format, true, &busy).await.unwrap();
        assert_eq!(second.text(), "at last", "the same request is another try the second time");
        let refused = running.ask(format, true, &says("refuse")).await.unwrap();
        assert_eq!(refused.stop, Stop::Refusal, "{format:?}");
    }
    assert_eq!(running.server.stats().cut, 6);
}

#[tokio::test]
async fn answers_do_not_hang_on_the_order_of_requests() {
    let requests: Vec<ModelRequest> = (0..20).map(|n| says(&format!("dice {n}"))).collect();
    let rules = "rules: [{name: a, answer: {text: ok}, faults: [{kind: server_error, chance: 0.4}]}]";
    let mut seen = Vec::new();
    for reversed in [false, true] {
        let running = start(rules).await;
        let mut fine = vec![false; requests.len()];
        for n in 0..requests.len() {
            let n = if reversed { requests.len() - 1 - n } else { n };
            fine[n] = running.ask(Format::OpenaiChat, true, &requests[n]).await.is_ok();
        }
        seen.push(fine);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].contains(&true) && seen[0].contains(&false));
}

#[tokio::test]
async fn conversations_that_no_service_takes_are_refused() {
    let running = start(RULES).await;
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "look_up", "arguments": "{}"}});
    let user = json!({"role": "user", "content": "x"});
    let asks = json!({"role": "assistant", "content": null, "tool_calls": [call("c1"), call("c2")]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "r"});
    for (messages, expected) in [
        (json!([]), "at least one message"),
        (json!([user, asks]), "c1, c2"),
        (json!([user, asks, result("c1")]), "c2"),
        (json!([user, asks, result("c1"), user, result("c2")]), "c2"),
        (json!([user, result("c1")]), "must be a response"),
        (json!([user, asks, result("c1"), result("c1")]), "must be a response"),
        (json!([user, {"role": "assistant"}]), "content or tool_calls"),
        (json!([{"role": "robot", "content": "x"}]), "there is no role"),
    ] {
        let (status, body) = running.post("/chat/completions", &json!({"model": "m", "messages": messages})).await;
        assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")), "{messages}");
        assert!(body["error"]["message"].as_str().unwrap().contains(expected), "{body}");
    }

    let tool_use = |id: &str| json!({"type": "tool_use", "id": id, "name": "look_up", "input": {}});
    let asks = json!({"role": "assistant", "content": [tool_use("c1"), tool_use("c2")]});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "r"});
    let answers = |blocks: Value| json!({"role": "user", "content": blocks});
    let text = json!({"type": "text", "text": "and?"});
    for (messages, expected) in [
        (json!([]), "at least one message"),
        (json!([asks]), "`tool_result` blocks immediately after: c1, c2"),
        (json!([user, asks, answers(json!([result("c1")]))]), "immediately after: c2"),
        (json!([user, asks, user]), "immediately after: c1, c2"),
        (json!([user, answers(json!([result("c1")]))]), "unexpected `tool_use_id`"),
        (json!([user, asks, answers(json!([result("c1"), text, result("c2")]))]), "must come first"),
        (json!([user, asks, answers(json!([result("c1"), result("c2"), result("c2")]))]), "a single result"),
        (json!([user, asks, answers(json!([result("c1"), result("c2")])), asks]), "must be unique"),
        (json!([user, {"role": "assistant", "content": []}, user]), "non-empty content"),
        (json!([{"role": "assistant", "content": "x"}, user]), "first message"),
        (json!([{"role": "system", "content": "x"}, user]), "role must be"),
    ] {
        let asked = json!({"model": "m", "max_tokens": 9, "messages": messages});
        let (status, body) = running.post("/messages", &asked).await;
        assert_eq!(
            (status, &body["type"], &body["error"]["type"]),
            (400, &json!("error"), &json!("invalid_request_error"))
        );
        assert!(body["error"]["message"].as_str().unwrap().contains(expected), "{messages}: {body}");
    }
    let (_, body) = running.post("/messages", &json!({"model": "m", "messages": [user]})).await;
    assert_eq!(body["error"]["message"], "max_tokens: Field required");

    let call = json!({"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "r"});
    for (input, expected) in [
        (json!([user, call]), "No tool output found for function call c1."),
        (json!([user, call, user, output]), "No tool output found for function call c1."),
        (json!([user, output]), "No tool call found for function call output"),
        (json!([]), "Missing required parameter"),
    ] {
        let (status, body) = running.post("/responses", &json!({"model": "m", "input": input})).await;
        assert_eq!(status, 400, "{body}");
        assert!(body["error"]["message"].as_str().unwrap().contains(expected), "{input}: {body}");
    }
    let stats = running.server.stats();
    assert_eq!((stats.requests, stats.refused, stats.answers), (24, 24, 0));
}

#[tokio::test]
async fn what_was_seen_and_given_is_counted_by_key() {
    let running = start(&format!("{RULES}\nlimits: {{requests_per_minute: 3}}")).await;
    let service = running.service(Format::Anthropic, true);
    for (key, text) in [("a", "hello"), ("a", "hello"), ("b", "cut"), ("b", "hello")] {
        let _ = service.complete(Call { request: &says(text), key, tries: 1, tokens: None }).await;
    }
    let body = reqwest::get(format!("http://{}/stats", running.address)).await.unwrap();
    let stats: Value = body.json().await.unwrap();
    assert_eq!((&stats["requests"], &stats["answers"], &stats["cut"]), (&json!(4), &json!(3), &json!(1)));
    assert_eq!(stats["faults"], 1, "the fourth was one too many for this minute");
    assert_eq!(stats["keys"], json!({"a": {"requests": 2, "answers": 2}, "b": {"requests": 2, "answers": 0}}));
}
