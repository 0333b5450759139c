//! The step `llm` against a real HTTP server and a scripted model.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_agent::settings::{ModelSettings, ProviderFormat, ProviderSettings};
use stepmill_agent::{LlmOutput, LlmStep, ScriptSource};
use stepmill_protocol::Usage;
use stepmill_protocol::problem::Standard;
use stepmill_worker::Secrets;
use stepmill_worker::testing::{Tried, TryStep};
use wiremock::matchers::{any, body_partial_json, body_string_contains, header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The service with a key of the worker's own.
fn config(server: &MockServer) -> ModelSettings {
    let provider = ProviderSettings {
        base_url: Some(format!("{}/v1/", server.uri())),
        key: serde_json::from_value(json!("llm-key")).unwrap(),
        ..ProviderSettings::of(ProviderFormat::OpenaiChat)
    };
    let mut settings = ModelSettings { model: Some("small-1".into()), ..ModelSettings::default() };
    settings.providers.insert("main".into(), provider);
    settings
}

fn step(settings: &ModelSettings) -> LlmStep {
    let secrets = Secrets::of([("STEPMILL_SECRET_LLM_KEY".to_owned(), "sk-worker".to_owned())].into());
    LlmStep::new(settings, secrets).unwrap()
}

async fn ask(settings: ModelSettings, with: &Value) -> Tried<LlmOutput> {
    TryStep::new().run(step(&settings), with).await
}

const ONE_CALL: Usage = Usage { model_calls: 1, tokens_in: 12, tokens_out: 5, tokens_cached: 0, cost_nano_usd: 0 };

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
    let mut output = serde_json::to_value(tried.result.unwrap()).unwrap();
    output["usage"]["prices"].take();
    assert_eq!(
        output,
        json!({"content": {"kind": "refund"}, "model": "small-1-2026", "finish_reason": "stop",
            "usage": {"model_calls": 1, "tokens_in": 12, "tokens_out": 5, "tokens_cached": 0, "cost_nano_usd": 0,
                "saved_nano_usd": 0, "prices": null, "calls": [{"provider": "main", "model": "small-1-2026",
                    "tokens": {"input": 12, "output": 5}, "cost_nano_usd": null}]}})
    );
    assert_eq!(tried.usage, Some(ONE_CALL));
}

#[tokio::test]
async fn useless_answers_fail_with_their_cost() {
    let say = |text: &str| json!({ "content": text });
    for (message, reason, kind, retryable, text) in [
        (say("{\"kind\": \"ref"), "stop", "model/malformed", true, "the answer is not JSON"),
        (say("{\"kind\": \"joke\"}"), "stop", "model/mismatch", true, "/kind: \"joke\" is not one of"),
        (say("{\"kind\""), "length", "model/truncated", false, "raise `max_tokens`"),
        (json!({"content": null, "refusal": "No."}), "stop", "model/refused", false, "the model declined: No."),
        (say(""), "content_filter", "model/refused", false, "content filter"),
    ] {
        let server = always(completion(&message, reason)).await;
        let tried = ask(config(&server), &json!({"prompt": "x", "schema": kinds(), "repair": false})).await;
        let failure = tried.result.unwrap_err();
        assert!(failure.problem().kind.ends_with(kind), "{failure:?}");
        assert!(failure.to_string().contains(text), "{failure}");
        assert_eq!(failure.is_retryable(), retryable, "{failure}");
        assert_eq!(tried.usage, Some(ONE_CALL));
        assert_eq!(failure.problem().extra.as_ref().unwrap()["usage"]["tokens_in"], 12, "what it cost is told");
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
    assert!(failure.is_retryable() && failure.to_string().contains("base URL"), "{failure}");
}

#[tokio::test]
async fn the_workers_key_never_goes_to_another_service() {
    let (own, other) = (MockServer::start().await, always(completion(&json!({"content": "hi"}), "stop")).await);
    let with = json!({"prompt": "x", "base_url": other.uri()});
    assert_eq!(ask(config(&own), &with).await.result.unwrap().content, json!("hi"));
    let sent = other.received_requests().await.unwrap();
    assert!(!sent[0].headers.contains_key("authorization"), "{:?}", sent[0].headers);
    let with = json!({"prompt": "x", "base_url": other.uri(), "api_key": TryStep::secret_reference("other")});
    TryStep::new().secret("other", "sk-other").run::<_, LlmOutput>(step(&config(&own)), &with).await.result.unwrap();
    assert_eq!(other.received_requests().await.unwrap()[1].headers["authorization"], "Bearer sk-other");
}

#[tokio::test]
async fn wrong_calls_say_what_to_correct() {
    let server = MockServer::start().await;
    let unnamed = ModelSettings { model: None, ..config(&server) };
    for (config, with, expected) in [
        (ModelSettings::default(), json!({"prompt": "x"}), "set STEPMILL_LLM_BASE_URL"),
        (unnamed, json!({"prompt": "x"}), "STEPMILL_LLM_MODEL"),
        (config(&server), json!({"system": "x"}), "give `prompt` or `messages`"),
        (config(&server), json!({"prompt": "x", "schema": {"type": "objekt"}}), "`schema` is not a JSON Schema"),
        (config(&server), json!({"promt": "x"}), "unknown field `promt`"),
        (config(&server), json!({"prompt": {"template": "{{ a }}"}}), "the template cannot be filled"),
        (config(&server), json!({"messages": [{"role": "assistant", "content": "x"}]}), "does not begin with"),
        (config(&server), json!({"prompt": "x", "models": vec!["m"; 9]}), "MODELS_MAX"),
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
    let settings = ModelSettings::default().or_rules(ScriptSource::Text(rules.into()));
    let with = json!({"prompt": "money back", "schema": {"format": "json", "document": kinds()}, "repair": false});
    for (pass, attempt, fine) in [(0, 1, false), (0, 2, false), (0, 3, true), (1, 1, false), (2, 1, true)] {
        let tried: Tried<LlmOutput> = TryStep::new().pass(pass).attempt(attempt).run(step(&settings), &with).await;
        assert_eq!(tried.result.is_ok(), fine, "pass {pass}, attempt {attempt}");
        assert!(tried.usage.unwrap().tokens_in > 0);
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_form_is_mended_once() {
    let good = completion(&json!({"content": "{\"kind\": \"refund\"}"}), "stop");
    let bad = completion(&json!({"content": "{\"kind\": \"joke\"}"}), "stop");
    for (second, calls) in [(good, 1), (bad.clone(), 2)] {
        let server = MockServer::start().await;
        let follow_up = Mock::given(body_string_contains("Your last answer cannot be used"));
        follow_up.respond_with(second).expect(1).with_priority(1).mount(&server).await;
        Mock::given(any()).respond_with(bad.clone()).expect(1).mount(&server).await;
        let tried = ask(config(&server), &json!({"prompt": "Money back!", "schema": kinds()})).await;
        let requests = server.received_requests().await.unwrap();
        let messages: Value = serde_json::from_slice(&requests[1].body).unwrap();
        assert_eq!(messages["messages"][1], json!({"role": "assistant", "content": "{\"kind\": \"joke\"}"}));
        let told = messages["messages"][2]["content"].as_str().unwrap();
        assert!(told.contains("/kind: \"joke\" is not one of"), "{told}");
        let keys: Vec<_> = requests.iter().map(|r| r.headers["idempotency-key"].to_str().unwrap().to_owned()).collect();
        assert_eq!(keys[1], format!("{}#1", keys[0]), "another request has another key");
        assert_eq!(tried.usage.unwrap().model_calls, 2);
        match tried.result {
            Ok(output) => {
                assert_eq!((calls, &output.content), (1, &json!({"kind": "refund"})));
                assert_eq!(output.usage.calls.iter().map(|c| c.repair).collect::<Vec<_>>(), [false, true]);
            }
            Err(failure) => {
                assert_eq!(calls, 2, "{failure}");
                assert!(failure.problem().kind.ends_with("model/mismatch"), "{failure:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_chain_goes_on_to_the_next_model_and_tells_what_was_tried() {
    let server = MockServer::start().await;
    let asks = |model: &str| Mock::given(body_partial_json(json!({ "model": model })));
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "7");
    asks("small").respond_with(busy).mount(&server).await;
    asks("odd").respond_with(completion(&json!({"content": "no JSON"}), "stop")).mount(&server).await;
    asks("large").respond_with(completion(&json!({"content": "{\"kind\": \"other\"}"}), "stop")).mount(&server).await;
    let with = json!({"prompt": "x", "schema": kinds(), "models": ["small", "main/odd", "large"]});
    let tried = ask(config(&server), &with).await;
    assert_eq!(tried.usage.unwrap().model_calls, 4, "the odd one is asked twice");
    let output = tried.result.unwrap();
    assert_eq!(output.content, json!({"kind": "other"}));
    let why = json!(output.tried);
    assert_eq!((&why[0]["model"], &why[0]["error"]["kind"]), (&json!("main/small"), &json!("rate-limit")));
    assert_eq!((&why[1]["model"], &why[1]["error"]["kind"]), (&json!("main/odd"), &json!("malformed")));
    let with = json!({"prompt": "x", "models": ["small", "none"]});
    let failure = ask(config(&server), &with).await.result.unwrap_err();
    assert!(failure.problem().kind.ends_with("model/not-found") && failure.is_retryable(), "{failure:?}");
    assert_eq!(failure.delay(), Some(Duration::from_secs(7)), "the first may help later");
    assert_eq!(failure.problem().extra.as_ref().unwrap()["tried"][0]["model"], "main/small");
}

#[tokio::test]
async fn an_answer_that_was_kept_costs_nothing_and_says_what_it_saved() {
    let server = MockServer::start().await;
    let answer = json!({"model": "gpt-5-mini-2025-08-07", "choices": [{"message": {"content": "hi"}}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}}});
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(answer)).expect(2).mount(&server).await;
    let step = std::sync::Arc::new(step(&config(&server)));
    let run = async |with: Value| {
        let step = std::sync::Arc::clone(&step);
        let handler = move |ctx, call| {
            let step = std::sync::Arc::clone(&step);
            async move { stepmill_worker::Handler::<stepmill_agent::LlmCall, LlmOutput>::run(&*step, ctx, call).await }
        };
        TryStep::new().run(handler, &with).await
    };
    let cost = 600 * 250 + 400 * 25 + 10 * 2_000;
    let first = run(json!({"prompt": "x", "cache_s": 60})).await;
    let usage = first.result.unwrap().usage;
    assert_eq!((usage.cost_nano_usd, usage.saved_nano_usd, usage.tokens_cached), (cost, 0, 400));
    assert_eq!((first.usage.unwrap().cost_nano_usd, first.usage.unwrap().tokens_cached), (cost, 400));
    let second = run(json!({"prompt": "x", "cache_s": 60})).await;
    let usage = second.result.unwrap().usage;
    assert_eq!((usage.model_calls, usage.cost_nano_usd, usage.saved_nano_usd), (0, 0, cost));
    assert!(usage.calls[0].kept && second.usage.is_none());
    let other = run(json!({"prompt": "y", "cache_s": 60})).await;
    assert_eq!(other.result.unwrap().usage.model_calls, 1, "another question");
}

#[tokio::test]
async fn anthropic_is_asked_in_its_own_format_with_its_own_key() {
    let server = MockServer::start().await;
    let answer = json!({"type": "message", "model": "claude-sonnet-4-5-20250929", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "{\"kind\": \"other\"}"}], "usage": {"input_tokens": 10, "output_tokens": 4}});
    Mock::given(method("POST"))
        .and(path("/v1/messages"))
        .and(header("x-api-key", "sk-worker"))
        .and(header("anthropic-version", "2023-06-01"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(1)
        .mount(&server)
        .await;
    let mut settings = config(&server);
    let claude = ProviderSettings { format: ProviderFormat::Anthropic, ..settings.providers["main"].clone() };
    settings.providers.insert("claude".into(), claude);
    settings.provider = Some("main".into());
    let with = json!({"prompt": {"template": "Sort {{ what }}.", "values": {"what": "mail"}}, "schema": kinds(),
        "model": "claude/claude-sonnet-4-5"});
    let output = ask(settings, &with).await.result.unwrap();
    assert_eq!((output.content, output.usage.cost_nano_usd), (json!({"kind": "other"}), 10 * 3_000 + 4 * 15_000));
    let sent: Value = serde_json::from_slice(&server.received_requests().await.unwrap()[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"][0]["text"], "Sort mail.");
}

struct Heard(parking_lot::Mutex<Vec<String>>);

impl stepmill_agent::TokenSink for Heard {
    fn begin(&self, model: &str) {
        self.0.lock().push(format!("<{model}>"));
    }

    fn text(&self, text: &str) {
        self.0.lock().push(text.to_owned());
    }
}

struct All(std::sync::Arc<Heard>);

impl stepmill_agent::Readers for All {
    fn of(&self, _: &stepmill_worker::Context) -> Option<std::sync::Arc<dyn stepmill_agent::TokenSink>> {
        Some(std::sync::Arc::clone(&self.0) as _)
    }
}

#[tokio::test(start_paused = true)]
async fn readers_see_each_answer_begin_and_grow() {
    let rules = r#"
rules:
  - { name: again, when: { repair: true }, answer: { json: { kind: refund } } }
  - { name: first, answer: { text: no JSON } }
"#;
    let heard = std::sync::Arc::new(Heard(parking_lot::Mutex::default()));
    let settings = ModelSettings::default().or_rules(ScriptSource::Text(rules.into()));
    let step = step(&settings).readers(std::sync::Arc::new(All(std::sync::Arc::clone(&heard))));
    let tried: Tried<LlmOutput> = TryStep::new().run(step, &json!({"prompt": "x", "schema": kinds()})).await;
    assert_eq!(tried.result.unwrap().content, json!({"kind": "refund"}));
    assert_eq!(*heard.0.lock(), ["<scripted>", "no ", "JSON", "<scripted>", "{\"kind\":\"refund\"}"]);
}
