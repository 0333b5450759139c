//! The step `http` against a real HTTP server.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::problem::Standard;
use stepmill_worker::Failure;
use stepmill_worker::builtin::http::{HttpStep, TIMEOUTS};
use stepmill_worker::builtin::{EmitStep, Timeouts, Wire};
use stepmill_worker::testing::TryStep;
use wiremock::matchers::{any, basic_auth, body_json, body_string, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

async fn call(with: &Value) -> Result<Value, Failure> {
    TryStep::new().run(HttpStep::new(TIMEOUTS).unwrap(), with).await.result
}

/// A server that answers everything with `answer`.
async fn always(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn a_call_carries_method_query_headers_body_and_key() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/orders"))
        .and(query_param("dry", "true"))
        .and(query_param("tag", "b"))
        .and(query_param("have", "1"))
        .and(header("x-team", "7"))
        .and(header("content-type", "application/json"))
        .and(header_exists("idempotency-key"))
        .and(body_json(json!({"item": "ä"})))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({"id": 5})))
        .expect(1)
        .mount(&server)
        .await;
    let with = json!({
        "method": "post",
        "endpoint": format!("{}/orders?have=1", server.uri()),
        "query": {"dry": true, "tag": ["a", "b"], "none": null},
        "headers": {"X-Team": 7},
        "body": {"item": "ä"},
    });
    assert_eq!(call(&with).await.unwrap(), json!({"id": 5}));
    let sent = server.received_requests().await.unwrap();
    let key = sent[0].headers["idempotency-key"].to_str().unwrap().to_owned();
    assert!(key.ends_with(":/do/0/step:1"), "{key}");
}

#[tokio::test]
async fn an_event_is_posted_in_its_structured_form() {
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}});
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/events"))
        .and(basic_auth("ann", "pass"))
        .and(header("content-type", "application/cloudevents+json"))
        .and(header_exists("idempotency-key"))
        .and(body_json(&event))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let send = async |to: &str, event: &Value| {
        let authentication = json!({"basic": {"username": "ann", "password": "pass"}});
        let with = json!({"endpoint": {"uri": format!("{}{to}", server.uri()), "authentication": authentication}, "event": event});
        TryStep::new().run(EmitStep::on(Wire::new(TIMEOUTS).unwrap()), &with).await.result
    };
    assert_eq!(send("/events", &event).await.unwrap(), Value::Null);
    let refused = send("/elsewhere", &event).await.unwrap_err();
    assert_eq!(refused.problem().status, 404, "{refused}");
    send("/events", &json!({"type": "t"})).await.unwrap_err();
}

#[tokio::test]
async fn a_login_in_the_url_is_used() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_string("in");
    Mock::given(basic_auth("ann", "p@ss")).respond_with(answer).expect(1).mount(&server).await;
    let uri = server.uri().replace("http://", "http://ann:p%40ss@");
    assert_eq!(call(&json!({ "method": "get", "endpoint": uri })).await.unwrap(), "in");
}

#[tokio::test]
async fn credentials_go_out_and_do_not_come_back() {
    let server = MockServer::start().await;
    Mock::given(basic_auth("ann", "pass")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let endpoint = |auth: Value| json!({"method": "get", "endpoint": {"uri": server.uri(), "authentication": auth}});
    assert_eq!(call(&endpoint(json!({"basic": {"username": "ann", "password": "pass"}}))).await.unwrap(), Value::Null);
    let failure = call(&endpoint(json!({"oauth2": {"authority": "http://x"}}))).await.unwrap_err();
    assert!(failure.to_string().contains("policy `oauth2`: missing field `grant`"), "{failure}");

    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer t0p-secret"))
        .respond_with(ResponseTemplate::new(200).insert_header("x-page", "2").set_body_string("fine"))
        .mount(&server)
        .await;
    let reference = TryStep::secret_reference("token");
    let with = json!({
        "method": "get",
        "endpoint": {"uri": server.uri(), "authentication": {"bearer": {"token": reference}}},
        "headers": {"x-copy": reference},
        "query": {"k": reference},
        "output": "response",
    });
    let step = HttpStep::new(TIMEOUTS).unwrap();
    let output = TryStep::new().secret("token", "t0p-secret").run(step, &with).await.result.unwrap();
    assert_eq!((&output["statusCode"], &output["content"]), (&json!(200), &json!("fine")));
    assert_eq!(output["headers"]["x-page"], "2");
    assert_eq!(output["request"]["method"], "GET");
    assert_eq!(output["request"]["headers"]["x-copy"], "[secret token]");
    assert!(!output.to_string().contains("t0p-secret"), "{output}");
}

#[tokio::test]
async fn outputs_come_in_three_forms_and_forms_go_out() {
    let server = always(ResponseTemplate::new(200).set_body_raw("{\"a\":1}", "application/json")).await;
    let with = |output: &str| json!({"method": "GET", "endpoint": server.uri(), "output": output});
    assert_eq!(call(&with("raw")).await.unwrap(), json!("eyJhIjoxfQ=="));
    assert_eq!(call(&with("content")).await.unwrap(), json!({"a": 1}));
    assert_eq!(call(&with("response")).await.unwrap()["content"], json!({"a": 1}));

    let server = MockServer::start().await;
    Mock::given(body_string("a=1&b=x+y")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let with = json!({
        "method": "post", "endpoint": server.uri(), "body": {"a": 1, "b": "x y"},
        "headers": {"content-type": "application/x-www-form-urlencoded"},
    });
    call(&with).await.unwrap();
}

#[tokio::test]
async fn statuses_become_failures() {
    for (status, kind, retryable, wait) in [
        (404, Standard::Communication, false, None),
        (401, Standard::Authentication, false, None),
        (403, Standard::Authorization, false, None),
        (429, Standard::Communication, true, Some(7)),
        (408, Standard::Timeout, true, None),
        (503, Standard::Communication, true, Some(7)),
    ] {
        let mut answer = ResponseTemplate::new(status).set_body_json(json!({"why": "because"}));
        if wait.is_some() {
            answer = answer.insert_header("retry-after", "7");
        }
        let server = always(answer).await;
        let with = json!({"method": "get", "endpoint": format!("{}/x?secret=1", server.uri())});
        let failure = call(&with).await.unwrap_err();
        let problem = failure.problem();
        assert_eq!((problem.status, failure.is_retryable()), (status, retryable));
        assert_eq!(failure.delay(), wait.map(Duration::from_secs));
        assert!(problem.is(kind) && !failure.to_string().contains("secret"), "{failure}");
        assert_eq!(problem.extra, Some(json!({"body": {"why": "because"}})));
        // Nothing is repeated inside the step.
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn redirects_are_errors_unless_said_otherwise_and_are_never_followed() {
    let server = always(ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/")).await;
    let failure = call(&json!({"method": "get", "endpoint": server.uri()})).await.unwrap_err();
    assert_eq!((failure.problem().status, failure.is_retryable()), (302, false));
    let with = json!({"method": "get", "endpoint": server.uri(), "redirect": true, "output": "response"});
    assert_eq!(call(&with).await.unwrap()["headers"]["location"], "http://127.0.0.1:1/");
}

#[tokio::test]
async fn too_large_broken_and_silent_answers_are_told_apart() {
    let large = vec![b'x'; stepmill_protocol::limit::VALUE_BYTES_MAX + 1];
    let server = always(ResponseTemplate::new(200).set_body_bytes(large)).await;
    let failure = call(&json!({"method": "get", "endpoint": server.uri()})).await.unwrap_err();
    assert!(failure.to_string().contains("VALUE_BYTES_MAX") && !failure.is_retryable(), "{failure}");

    let server = always(ResponseTemplate::new(200).set_body_raw("{oops", "application/json")).await;
    let failure = call(&json!({"method": "get", "endpoint": server.uri()})).await.unwrap_err();
    assert!(failure.to_string().contains("says it is JSON and is not") && failure.is_retryable(), "{failure}");

    let failure = call(&json!({"method": "get", "endpoint": "http://127.0.0.1:1/"})).await.unwrap_err();
    assert!(failure.problem().is(Standard::Communication) && failure.is_retryable(), "{failure}");

    let server = always(ResponseTemplate::new(200).set_delay(Duration::from_secs(60))).await;
    let short = Timeouts { connect: Duration::from_secs(5), overall: Duration::from_millis(50) };
    let step = HttpStep::new(short).unwrap();
    let with = json!({"method": "get", "endpoint": server.uri()});
    let failure = TryStep::new().run::<_, Value>(step, &with).await.result.unwrap_err();
    assert!(failure.problem().is(Standard::Timeout) && failure.is_retryable(), "{failure}");
}

#[tokio::test]
async fn wrong_calls_say_what_to_correct() {
    for (with, expected) in [
        (json!({"method": "get", "endpoint": "example.org"}), "not a full URL"),
        (json!({"method": "get", "endpoint": "ftp://example.org"}), "scheme `ftp`"),
        (json!({"method": "g t", "endpoint": "http://x"}), "no HTTP method"),
        (json!({"method": "get", "endpoint": "http://x", "headers": {"a b": "c"}}), "header `a b`"),
        (json!({"method": "get", "endpoint": "http://x", "boddy": 1}), "unknown field `boddy`"),
    ] {
        let failure = call(&with).await.unwrap_err();
        assert!(failure.to_string().contains(expected) && !failure.is_retryable(), "{failure}");
    }
}
