//! The step `openapi` against a real HTTP server.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use serde_json::{Value, json};
use stepmill_protocol::problem::Standard;
use stepmill_worker::Failure;
use stepmill_worker::builtin::http::TIMEOUTS;
use stepmill_worker::builtin::{OpenApiStep, Wire};
use stepmill_worker::testing::TryStep;
use wiremock::matchers::{basic_auth, body_json, body_string, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const PETS: &str = "
openapi: 3.0.3
info: { title: Pets, version: '1' }
servers: [ { url: /v1 } ]
paths:
  /pets/{id}:
    parameters: [ { $ref: '#/components/parameters/id' } ]
    put:
      operationId: putPet
      parameters:
        - { name: tag, in: query, schema: { type: array } }
        - { name: x-team, in: header, required: true, schema: { type: string } }
        - { name: session, in: cookie, schema: { type: string } }
      requestBody: { required: true, content: { application/json: { schema: { type: object } } } }
      responses: { '200': { description: fine } }
  /forms:
    post:
      operationId: sendForm
      requestBody: { content: { application/x-www-form-urlencoded: {} } }
  /files:
    post:
      operationId: sendFile
      requestBody: { content: { multipart/form-data: {} } }
components:
  parameters:
    id: { name: id, in: path, required: true, schema: { type: string } }
";

fn step() -> OpenApiStep {
    OpenApiStep::on(Wire::new(TIMEOUTS).unwrap())
}

async fn call(step: &OpenApiStep, with: &Value) -> Result<Value, Failure> {
    TryStep::new().run(step.clone(), with).await.result
}

async fn server(document: &str) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_string(document);
    Mock::given(path("/api.yaml")).respond_with(answer).expect(1).mount(&server).await;
    server
}

#[tokio::test]
async fn a_value_does_not_lead_to_another_place() {
    let server = server(PETS).await;
    let step = step();
    for id in [".", ".."] {
        let parameters = json!({ "id": id, "x-team": "a", "body": {} });
        let with = json!({ "document": server.uri() + "/api.yaml", "operationId": "putPet", "parameters": parameters });
        let failure = call(&step, &with).await.unwrap_err();
        assert!(failure.problem().is(Standard::Configuration), "{failure}");
        assert!(failure.to_string().contains("leads to another place than `/pets/{id}`"), "{failure}");
    }
}

#[tokio::test]
async fn values_go_where_the_document_says_and_the_document_is_fetched_once() {
    let server = server(PETS).await;
    Mock::given(method("PUT"))
        .and(path("/v1/pets/a%2Fb"))
        .and(query_param("tag", "x"))
        .and(query_param("tag", "y z"))
        .and(header("x-team", "blue"))
        .and(header("cookie", "session=s1"))
        .and(header("authorization", "Bearer t"))
        .and(header("content-type", "application/json"))
        .and(header_exists("idempotency-key"))
        .and(body_json(json!({ "name": "Rex" })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": 7 })))
        .expect(2)
        .mount(&server)
        .await;
    let with = |output: &str| {
        json!({
            "document": server.uri() + "/api.yaml", "operationId": "putPet",
            "parameters": { "id": "a/b", "tag": ["x", "y z"], "x-team": "blue", "session": "s1", "body": { "name": "Rex" } },
            "authentication": { "bearer": { "token": "t" } },
            "output": output,
        })
    };
    let step = step();
    assert_eq!(call(&step, &with("content")).await.unwrap(), json!({ "id": 7 }));
    let response = call(&step, &with("response")).await.unwrap();
    assert_eq!((&response["statusCode"], &response["content"]["id"]), (&json!(200), &json!(7)));
    assert!(response["request"]["headers"].get("cookie").is_none(), "{response}");
}

#[tokio::test]
async fn an_old_document_behind_a_login_works_too() {
    let old = json!({
        "swagger": "2.0", "basePath": "/v2", "consumes": ["application/json"],
        "paths": {
            "/pet/findByStatus": { "get": { "operationId": "find", "parameters": [
                { "name": "status", "in": "query", "type": "array", "collectionFormat": "multi" } ] } },
            "/pet": { "post": { "operationId": "add", "parameters": [ { "name": "body", "in": "body", "required": true } ] } },
            "/pet/{petId}": { "post": { "operationId": "form", "parameters": [
                { "name": "petId", "in": "path", "required": true }, { "name": "name", "in": "formData" } ] } }
        }
    });
    let server = MockServer::start().await;
    Mock::given(path("/swagger.json"))
        .and(basic_auth("ann", "pass"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&old))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/v2/pet/findByStatus"))
        .and(query_param("status", "b"))
        .respond_with(ResponseTemplate::new(200).set_body_json(1))
        .mount(&server)
        .await;
    Mock::given(path("/v2/pet"))
        .and(body_json(json!({ "a": 1 })))
        .respond_with(ResponseTemplate::new(200).set_body_json(2))
        .mount(&server)
        .await;
    Mock::given(path("/v2/pet/5"))
        .and(body_string("name=Rex+II"))
        .respond_with(ResponseTemplate::new(200).set_body_json(3))
        .mount(&server)
        .await;
    let step = step();
    for (id, parameters, expected) in [
        ("find", json!({ "status": ["a", "b"] }), 1),
        ("add", json!({ "body": { "a": 1 } }), 2),
        ("form", json!({ "petId": 5, "name": "Rex II" }), 3),
    ] {
        let login = json!({ "basic": { "username": "ann", "password": "pass" } });
        let document = json!({ "uri": server.uri() + "/swagger.json", "authentication": login });
        let with = json!({ "document": document, "operationId": id, "parameters": parameters });
        assert_eq!(call(&step, &with).await.unwrap(), json!(expected));
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said_before_anything_is_sent() {
    let server = server(PETS).await;
    let step = step();
    for (id, parameters, expected) in [
        ("getPet", json!({}), "no operation `getPet`; it has putPet, sendForm, sendFile"),
        ("putPet", json!({ "id": 1, "x-team": "t" }), "needs a body; add it to `parameters` as `body`"),
        ("putPet", json!({ "x-team": "t", "body": {} }), "needs `id` (in the path)"),
        ("putPet", json!({ "id": 1, "body": {} }), "needs `x-team` (a header)"),
        ("putPet", json!({ "id": 1, "tagg": 2 }), "has no parameter `tagg`; it takes tag, x-team, session, id, body"),
        ("sendFile", json!({ "body": {} }), "multipart/form-data"),
    ] {
        let with = json!({ "document": server.uri() + "/api.yaml", "operationId": id, "parameters": parameters });
        let failure = call(&step, &with).await.unwrap_err();
        assert!(failure.problem().is(Standard::Configuration) && !failure.is_retryable(), "{failure}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1, "only the document was fetched");
}

#[tokio::test]
async fn redirects_and_missing_documents_are_errors() {
    let server = server("openapi: 3.1.0\npaths: { /a: { get: { operationId: a } } }").await;
    Mock::given(path("/a"))
        .respond_with(ResponseTemplate::new(302).insert_header("location", "/b"))
        .mount(&server)
        .await;
    let with =
        |redirect: bool| json!({ "document": server.uri() + "/api.yaml", "operationId": "a", "redirect": redirect });
    let step = step();
    assert_eq!(call(&step, &with(false)).await.unwrap_err().problem().status, 302);
    assert_eq!(call(&step, &with(true)).await.unwrap(), Value::Null);
    let missing = json!({ "document": server.uri() + "/none.yaml", "operationId": "a" });
    assert_eq!(call(&step, &missing).await.unwrap_err().problem().status, 404);
}
