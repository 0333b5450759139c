//! The step `llm` against a real HTTP server and a scripted model.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::Usage;
use stepmill_protocol::problem::Standard;
use stepmill_worker::builtin::Timeouts;
use stepmill_worker::builtin::llm::{LlmConfig, LlmOutput, LlmStep};
use stepmill_worker::model::ScriptSource;
use stepmill_worker::testing::{Tried, TryStep};
use wiremock::matchers::{any, body_partial_json, header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn config(server: &MockServer) -> LlmConfig {
    LlmConfig {
        base_url: Some(format!("{}/v1/", server.uri())),
        api_key: Some("sk-worker".into()),
        model: Some("small-1".into()),
        ..LlmConfig::default()
    }
}

async fn ask(config: LlmConfig, with: &Value) -> Tried<LlmOutput> {
    TryStep::new().run(LlmStep::new(config).unwrap(), with).await
}

fn completion(message: &Value, finish_reason: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "model": "small-1-2026", "choices": [{"message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5},
    }))
}

async fn always(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn kinds() -> Value {
    json!({
        "title": "kinds of mail", "type": "object", "additionalProperties": false, "required": ["kind"],
        "properties": {"kind": {"enum": ["refund", "other"]}},
    })
}

#[tokio::test]
async fn a_call_carries_messages_schema_and_key_and_gives_the_parsed_answer() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-worker"))
        .and(header_exists("idempotency-key"))
        .and(body_partial_json(json!({
            "model": "small-1", "temperature": 0.0, "max_tokens": 50,
            "messages": [{"role": "system", "content": "Sort mail."}, {"role": "user", "content": "Money back!"}],
            "response_format": {
                "type": "json_schema", "json_schema": {"name": "kinds_of_mail", "strict": true, "schema": kinds()},
            },
        })))
        .respond_with(completion(&json!({"content": "```json\n{\"kind\": \"refund\"}\n```"}), "stop"))
        .expect(1)
        .mount(&server)
        .await;
    let with = json!({
        "system": "Sort mail.", "prompt": "Money back!", "schema": kinds(), "temperature": 0.0, "max_tokens": 50,
    });
    let tried = ask(config(&server), &with).await;
    let output = serde_json::to_value(tried.result.unwrap()).unwrap();
    assert_eq!(
        output,
        json!({"content": {"kind": "refund"}, "model": "small-1-2026", "finish_reason": "stop",
            "usage": {"tokens_in": 12, "tokens_out": 5}})
    );
    assert_eq!(tried.usage, Some(Usage { model_calls: 1, tokens_in: 12, tokens_out: 5 }));
}

#[tokio::test]
async fn useless_answers_fail_with_their_cost() {
    let say = |text: &str| json!({ "content": text });
    for (message, reason, kind, retryable, text) in [
        (say("{\"kind\": \"ref"), "stop", "llm-malformed", true, "the answer is not JSON"),
        (say("{\"kind\": \"joke\"}"), "stop", "llm-mismatch", true, "/kind: \"joke\" is not one of"),
        (say("{\"kind\""), "length", "llm-truncated", false, "raise `max_tokens`"),
        (json!({"content": null, "refusal": "No."}), "stop", "llm-refused", false, "the model declined: No."),
        (say(""), "content_filter", "llm-refused", false, "content filter"),
    ] {
        let server = always(completion(&message, reason)).await;
        let tried = ask(config(&server), &json!({"prompt": "x", "schema": kinds()})).await;
        let failure = tried.result.unwrap_err();
        assert!(failure.problem().kind.ends_with(kind), "{failure:?}");
        assert!(failure.to_string().contains(text), "{failure}");
        assert_eq!(failure.is_retryable(), retryable, "{failure}");
        assert_eq!(tried.usage, Some(Usage { model_calls: 1, tokens_in: 12, tokens_out: 5 }));
    }
}

#[tokio::test]
async fn statuses_of_the_service_become_failures() {
    let quota = json!({"error": {"code": "insufficient_quota"}});
    let key = json!({"error": {"message": "Incorrect API key provided: sk-worker"}});
    for (status, body, retryable, wait) in [
        (429, json!({}), true, Some(Duration::from_secs(2))),
        (429, quota, false, None),
        (500, json!({}), true, Some(Duration::from_secs(2))),
        (400, json!({}), false, None),
        (401, key, false, None),
        (404, json!({}), false, None),
    ] {
        let answer = ResponseTemplate::new(status).insert_header("retry-after", "2").set_body_json(body);
        let server = always(answer).await;
        let tried = ask(config(&server), &json!({"prompt": "x"})).await;
        let failure = tried.result.unwrap_err();
        assert_eq!((failure.problem().status, failure.is_retryable()), (status, retryable), "{failure}");
        assert_eq!(failure.delay(), wait);
        assert!(!format!("{:?}", failure.problem()).contains("sk-worker"), "{failure:?}");
        assert_eq!(tried.usage, Some(Usage { model_calls: 1, ..Usage::default() }));
    }
    let server = always(ResponseTemplate::new(200).set_body_string("<html>")).await;
    let failure = ask(config(&server), &json!({"prompt": "x"})).await.result.unwrap_err();
    assert!(failure.is_retryable() && failure.to_string().contains("check the base URL"), "{failure}");
    let server = always(completion(&json!({"content": "late"}), "stop").set_delay(Duration::from_secs(60))).await;
    let timeouts = Timeouts { connect: Duration::from_secs(5), overall: Duration::from_millis(50) };
    let failure = ask(LlmConfig { timeouts, ..config(&server) }, &json!({"prompt": "x"})).await.result.unwrap_err();
    assert_eq!((failure.problem().status, failure.is_retryable()), (408, true), "{failure}");
}

#[tokio::test]
async fn the_workers_key_never_goes_to_another_service() {
    let (own, other) = (MockServer::start().await, always(completion(&json!({"content": "hi"}), "stop")).await);
    let with = json!({"prompt": "x", "base_url": other.uri()});
    assert_eq!(ask(config(&own), &with).await.result.unwrap().content, json!("hi"));
    let sent = other.received_requests().await.unwrap();
    assert!(!sent[0].headers.contains_key("authorization"), "{:?}", sent[0].headers);
    let with = json!({"prompt": "x", "base_url": other.uri(), "api_key": TryStep::secret_reference("other")});
    let step = LlmStep::new(config(&own)).unwrap();
    TryStep::new().secret("other", "sk-other").run::<_, LlmOutput>(step, &with).await.result.unwrap();
    assert_eq!(other.received_requests().await.unwrap()[1].headers["authorization"], "Bearer sk-other");
}

#[tokio::test]
async fn wrong_calls_say_what_to_correct() {
    let server = MockServer::start().await;
    let unnamed = LlmConfig { model: None, ..config(&server) };
    for (config, with, expected) in [
        (LlmConfig::default(), json!({"prompt": "x"}), "set STEPMILL_LLM_BASE_URL"),
        (unnamed, json!({"prompt": "x"}), "STEPMILL_LLM_MODEL"),
        (config(&server), json!({"system": "x"}), "give `prompt` or `messages`"),
        (config(&server), json!({"prompt": "x", "schema": {"type": "objekt"}}), "`schema` is not a JSON Schema"),
        (config(&server), json!({"promt": "x"}), "unknown field `promt`"),
    ] {
        let failure = ask(config, &with).await.result.unwrap_err();
        assert!(failure.to_string().contains(expected) && !failure.is_retryable(), "{failure}");
        assert!(failure.problem().is(Standard::Configuration) || failure.problem().is(Standard::Validation));
    }
}

#[tokio::test]
async fn a_scripted_model_stands_in_and_its_tries_count_passes() {
    let rules = r#"
model: scripted-1
rules:
  - name: sort
    when: {schema: kinds_of_mail}
    answer: {json: {kind: refund}}
    faults: [{kind: malformed, tries: [1, 2]}]
"#;
    let config = LlmConfig { script: Some(ScriptSource::Text(rules.into())), ..LlmConfig::default() };
    let with = json!({"prompt": "money back", "schema": {"format": "json", "document": kinds()}});
    for (pass, attempt, fine) in [(0, 1, false), (0, 2, false), (0, 3, true), (1, 1, false), (2, 1, true)] {
        let step = LlmStep::new(config.clone()).unwrap();
        let tried: Tried<LlmOutput> = TryStep::new().pass(pass).attempt(attempt).run(step, &with).await;
        assert_eq!(tried.result.is_ok(), fine, "pass {pass}, attempt {attempt}");
        assert!(tried.usage.unwrap().tokens_in > 0);
    }
}
