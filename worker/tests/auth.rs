//! Authentication of calls, against servers that check it: a digest challenge, and authorities that give tokens.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stepmill_protocol::problem::Standard;
use stepmill_worker::Failure;
use stepmill_worker::builtin::http::{HttpStep, TIMEOUTS};
use stepmill_worker::testing::TryStep;
use wiremock::matchers::{any, body_string_contains, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn step() -> HttpStep {
    HttpStep::new(TIMEOUTS).unwrap()
}

fn to(server: &MockServer, authentication: &Value) -> Value {
    json!({ "method": "get", "endpoint": { "uri": format!("{}/api", server.uri()), "authentication": authentication } })
}

async fn call(step: &HttpStep, with: &Value) -> Result<Value, Failure> {
    TryStep::new().run(step.clone(), with).await.result
}

/// An authority that gives `token` for a request with all of `parts` in its form.
async fn authority(token: &Value, parts: &[&str]) -> MockServer {
    let server = MockServer::start().await;
    let mut mock = Mock::given(method("POST")).and(path("/oauth2/token"));
    for part in parts {
        mock = mock.and(body_string_contains(*part));
    }
    mock.respond_with(ResponseTemplate::new(200).set_body_json(token)).mount(&server).await;
    server
}

/// A server that lets in who shows this token.
async fn guarded(token: &str) -> MockServer {
    let server = MockServer::start().await;
    let shown = format!("Bearer {token}");
    Mock::given(header("authorization", shown)).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).with_priority(9).mount(&server).await;
    server
}

async fn asked(authority: &MockServer) -> usize {
    authority.received_requests().await.unwrap().iter().filter(|r| r.url.path() == "/oauth2/token").count()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a digest answer as RFC 7616 has it, with the password `pass` of `ann`.
fn answers_the_challenge(request: &Request) -> bool {
    let Some(text) = request.headers.get("authorization").and_then(|value| value.to_str().ok()) else { return false };
    let parts: std::collections::BTreeMap<&str, &str> = text
        .trim_start_matches("Digest ")
        .split(", ")
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (key, value.trim_matches('"')))
        .collect();
    let uri = request.url.path().to_owned() + &request.url.query().map(|q| format!("?{q}")).unwrap_or_default();
    let who = hash("ann:shop:pass");
    let what = hash(&format!("{}:{uri}", request.method));
    let expected = hash(&format!("{who}:n0nce:{}:{}:auth:{what}", parts["nc"], parts["cnonce"]));
    parts["username"] == "ann" && parts["uri"] == uri && parts["opaque"] == "o" && parts["response"] == expected
}

#[tokio::test]
async fn a_digest_challenge_is_answered() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(|request: &Request| {
            if answers_the_challenge(request) {
                return ResponseTemplate::new(200).set_body_json(request.body.len());
            }
            let challenge = "Digest realm=\"shop\", nonce=\"n0nce\", qop=\"auth\", algorithm=SHA-256, opaque=\"o\"";
            ResponseTemplate::new(401).insert_header("www-authenticate", challenge)
        })
        .mount(&server)
        .await;
    let with = |password: &str| {
        json!({
            "method": "post", "query": { "q": "a b" }, "body": { "n": 1 },
            "endpoint": { "uri": server.uri() + "/x", "authentication": { "digest": { "username": "ann", "password": password } } },
        })
    };
    assert_eq!(call(&step(), &with("pass")).await.unwrap(), json!(7), "the body is sent again");
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
    let failure = call(&step(), &with("hunter2")).await.unwrap_err();
    assert!(failure.problem().is(Standard::Authentication) && !failure.is_retryable(), "{failure}");
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_until_it_expires() {
    let api = guarded("t1").await;
    let form = [
        "grant_type=client_credentials",
        "client_id=me",
        "client_secret=s3cret",
        "scope=read+write",
        "audience=a&audience=b",
    ];
    let kept = authority(&json!({ "access_token": "t1", "token_type": "Bearer", "expires_in": 300 }), &form).await;
    let brief = authority(&json!({ "access_token": "t1", "expires_in": "2" }), &[]).await;
    let policy = |authority: &MockServer| {
        json!({ "oauth2": {
            "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me", "secret": "s3cret" },
            "scopes": ["read", "write"], "audiences": ["a", "b"],
        } })
    };
    let step = step();
    for _ in 0..3 {
        call(&step, &to(&api, &policy(&kept))).await.unwrap();
        call(&step, &to(&api, &policy(&brief))).await.unwrap();
    }
    assert_eq!((asked(&kept).await, asked(&brief).await), (1, 3));
    // Many calls at once wait for the same token.
    let fresh = HttpStep::new(TIMEOUTS).unwrap();
    let with = to(&api, &policy(&kept));
    let calls = futures::future::join_all((0..8).map(|_| call(&fresh, &with))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(asked(&kept).await, 2);
}

#[tokio::test]
async fn a_kept_token_that_was_withdrawn_is_replaced() {
    let authority = authority(&json!({ "access_token": "t2", "expires_in": 300 }), &[]).await;
    let api = MockServer::start().await;
    // The first two requests are let in and refused, as by a server that withdrew the token in between.
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).up_to_n_times(1).with_priority(1).mount(&api).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).up_to_n_times(1).with_priority(2).mount(&api).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).with_priority(3).mount(&api).await;
    let policy =
        json!({ "oauth2": { "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me" } } });
    let step = step();
    call(&step, &to(&api, &policy)).await.unwrap();
    call(&step, &to(&api, &policy)).await.unwrap();
    assert_eq!((asked(&authority).await, api.received_requests().await.unwrap().len()), (2, 3));
}

#[tokio::test]
async fn clients_show_who_they_are_in_every_way_of_the_standard() {
    let api = guarded("t").await;
    let token = json!({ "access_token": "t", "expires_in": 300 });
    let one = |client: Value, more: Value| {
        let (api, token) = (&api, &token);
        async move {
            let authority = authority(token, &[]).await;
            let mut policy = json!({ "authority": authority.uri(), "grant": "client_credentials", "client": client });
            policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            call(&step(), &to(api, &json!({ "oauth2": policy }))).await.unwrap();
            let request = authority.received_requests().await.unwrap().remove(0);
            (request, authority.uri() + "/oauth2/token")
        }
    };
    let text = |request: &Request| String::from_utf8(request.body.clone()).unwrap();

    let client = json!({ "id": "me:you", "secret": "p w", "authentication": "client_secret_basic" });
    let (request, _) = one(client, json!({})).await;
    // me%3Ayou:p+w
    assert_eq!(request.headers["authorization"], "Basic bWUlM0F5b3U6cCt3");
    assert_eq!(text(&request), "grant_type=client_credentials");

    let client = json!({ "id": "me", "authentication": "none" });
    assert_eq!(text(&one(client, json!({})).await.0), "grant_type=client_credentials&client_id=me");

    let encoding = json!({ "request": { "encoding": "application/json" }, "audiences": ["a", "b"] });
    let (request, _) = one(json!({ "id": "me", "secret": "s" }), encoding).await;
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).unwrap(),
        json!({ "grant_type": "client_credentials", "client_id": "me", "client_secret": "s", "audience": ["a", "b"] })
    );

    let secret = "0123456789abcdef0123456789abcdef";
    let client = json!({ "id": "me", "secret": secret, "authentication": "client_secret_jwt" });
    let (request, endpoint) = one(client, json!({})).await;
    let form: std::collections::BTreeMap<String, String> =
        reqwest::Url::parse(&format!("http://x/?{}", text(&request))).unwrap().query_pairs().into_owned().collect();
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[&endpoint]);
    validation.set_issuer(&["me"]);
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = decode::<Value>(&form["client_assertion"], &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "me");

    let client = json!({ "id": "me", "assertion": "a.b.c", "authentication": "private_key_jwt" });
    assert!(text(&one(client, json!({})).await.0).contains("client_assertion=a.b.c"));
}

#[tokio::test]
async fn every_grant_sends_what_it_needs() {
    let api = guarded("t").await;
    let subject = json!({ "token": "sub-1", "type": "urn:t" });
    for (policy, parts) in [
        (
            json!({ "grant": "password", "username": "ann", "password": "p" }),
            vec!["grant_type=password", "username=ann", "password=p"],
        ),
        (
            json!({ "grant": "refresh_token", "subject": subject }),
            vec!["grant_type=refresh_token", "refresh_token=sub-1"],
        ),
        (
            json!({ "grant": "authorization_code", "subject": subject }),
            vec!["grant_type=authorization_code", "code=sub-1"],
        ),
        (
            json!({ "grant": "urn:ietf:params:oauth:grant-type:token-exchange", "subject": subject, "actor": { "token": "act", "type": "urn:a" } }),
            vec![
                "token-exchange",
                "subject_token=sub-1",
                "subject_token_type=urn%3At",
                "actor_token=act",
                "actor_token_type=urn%3Aa",
            ],
        ),
    ] {
        let authority = authority(&json!({ "access_token": "t" }), &parts).await;
        let mut policy = policy;
        policy["authority"] = authority.uri().into();
        call(&step(), &to(&api, &json!({ "oauth2": policy }))).await.unwrap();
        assert_eq!(asked(&authority).await, 1, "{policy}");
    }
}

#[tokio::test]
async fn a_refresh_token_is_used_and_given_up_when_it_is_refused() {
    let api = guarded("t").await;
    let server = MockServer::start().await;
    let token = json!({ "access_token": "t", "expires_in": 1, "refresh_token": "r1" });
    Mock::given(body_string_contains("refresh_token=r1"))
        .respond_with(ResponseTemplate::new(400).set_body_json(json!({ "error": "invalid_grant" })))
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(body_string_contains("grant_type=password"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .mount(&server)
        .await;
    let policy =
        json!({ "oauth2": { "authority": server.uri(), "grant": "password", "username": "u", "password": "p" } });
    let step = step();
    call(&step, &to(&api, &policy)).await.unwrap();
    call(&step, &to(&api, &policy)).await.unwrap();
    let sent: Vec<String> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).split('&').next().unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["grant_type=password", "grant_type=refresh_token", "grant_type=password"]);
}

#[tokio::test]
async fn an_openid_provider_says_where_to_ask_and_is_asked_once() {
    let api = guarded("t").await;
    let provider = authority(&json!({ "access_token": "t", "expires_in": 1 }), &["client_id=me"]).await;
    let description = json!({ "issuer": provider.uri(), "token_endpoint": provider.uri() + "/oauth2/token" });
    Mock::given(path("/realm/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(description))
        .expect(1)
        .mount(&provider)
        .await;
    let step = step();
    for authority in ["/realm", "/realm/.well-known/openid-configuration"] {
        let policy = json!({ "oidc": { "authority": provider.uri() + authority, "grant": "client_credentials", "client": { "id": "me" } } });
        call(&step, &to(&api, &policy)).await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_refuses_is_told_apart_from_one_that_is_away() {
    let api = guarded("t").await;
    for (status, body, kind, retryable, said) in [
        (
            401,
            json!({ "error": "invalid_client", "error_description": "who?" }),
            Standard::Authentication,
            false,
            "invalid_client (who?)",
        ),
        (400, json!({ "error": "invalid_scope" }), Standard::Authorization, false, "invalid_scope"),
        (403, json!("no"), Standard::Authorization, false, "status 403"),
        (503, json!("later"), Standard::Communication, true, "503"),
        (200, json!({ "token": "t" }), Standard::Communication, false, "no JSON object with `access_token`"),
        (200, json!({ "access_token": "t", "token_type": "DPoP" }), Standard::Authentication, false, "type `DPoP`"),
    ] {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(status).set_body_json(body)).mount(&server).await;
        let policy = json!({ "oauth2": { "authority": server.uri(), "grant": "client_credentials", "client": { "id": "me", "secret": "s" } } });
        let failure = call(&step(), &to(&api, &policy)).await.unwrap_err();
        assert!(failure.problem().is(kind) && failure.is_retryable() == retryable, "{failure}");
        assert!(failure.to_string().contains(said), "{failure}");
    }
    let policy = json!({ "oauth2": { "authority": "http://127.0.0.1:1", "grant": "client_credentials", "client": { "id": "me" } } });
    let failure = call(&step(), &to(&api, &policy)).await.unwrap_err();
    assert!(failure.problem().is(Standard::Communication) && failure.is_retryable(), "{failure}");
    assert!(api.received_requests().await.unwrap().is_empty(), "nothing goes out without a token");
}

#[tokio::test]
async fn issuers_are_checked() {
    let key = EncodingKey::from_secret(b"whatever");
    let token = encode(&Header::default(), &json!({ "iss": "https://good" }), &key).unwrap();
    let api = guarded(&token).await;
    let authority = authority(&json!({ "access_token": token }), &[]).await;
    let policy = |issuers: Value| json!({ "oauth2": { "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me" }, "issuers": issuers } });
    call(&step(), &to(&api, &policy(json!(["https://other", "https://good"])))).await.unwrap();
    let failure = call(&step(), &to(&api, &policy(json!(["https://other"])))).await.unwrap_err();
    assert!(
        failure.problem().is(Standard::Authentication) && failure.to_string().contains("https://good"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_whole_secret_is_a_policy_and_nothing_of_it_comes_back() {
    let authority = authority(&json!({ "access_token": "tok-77" }), &["client_secret=hunter2"]).await;
    let api = MockServer::start().await;
    // A server that repeats what it was sent.
    Mock::given(any())
        .respond_with(|r: &Request| {
            let shown = r.headers["authorization"].to_str().unwrap().to_owned();
            ResponseTemplate::new(500).set_body_json(json!({ "got": shown, "and": "hunter2" }))
        })
        .mount(&api)
        .await;
    let policy = json!({ "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "shop", "secret": "hunter2" } });
    let with = to(&api, &json!({ "oauth2": TryStep::secret_reference("login") }));
    let tried = TryStep::new().secret("login", &policy.to_string()).run::<_, Value>(step(), &with).await;
    let failure = tried.result.unwrap_err();
    let shown = serde_json::to_string(failure.problem()).unwrap();
    assert!(!shown.contains("hunter2") && !shown.contains("tok-77"), "{shown}");
    assert!(shown.contains("Bearer [secret access token]") && shown.contains("[secret login]"), "{shown}");
}
