//! The hosts that the kit and the examples call, as far as these need them.

use serde_json::{Value, json};

use super::stand_in::{Answer, Asked, fine, refused};

/// The answer to a request.
pub(super) fn answer(asked: &Asked) -> Answer {
    let parts = asked.parts();
    match (asked.host.as_str(), asked.method.as_str(), parts.as_slice()) {
        ("petstore.swagger.io", method, ["v2", rest @ ..]) => petstore(method, rest, asked),
        ("httpbin.org", "GET", ["basic-auth", user, password]) => basic(user, password, asked),
        ("swapi.dev", "GET", ["api", rest @ ..]) => star_wars(rest, asked),
        ("keycloak", method, ["realms", "fake-authority", rest @ ..]) => keycloak(method, rest),
        ("myorg.io", method, rest) => orders(method, rest),
        ("fake.com", "GET", ["sample"]) => fine(json!({ "sample": true })),
        ("external-service.example.com", "GET", ["api"]) => refused(503, "not now"),
        ("superbet-casinos.com", "POST", ["api", "bet", "on", "football"])
        | ("fake-hospital.com", "PUT", ["api", "v3", "alert", "nurses" | "doctor"])
        | ("hospital.example.com", "POST", ["api", "v1", "notify"])
        | ("virtual-wf-powered-race.com", "POST", ["api", "v4", "cars", _, "start"])
        | ("fake-chat-api.com", "POST", ["room", _])
        | ("example.com", "POST", ["api", "v1", "backup", "start"]) => fine(json!({ "received": asked.json() })),
        _ => refused(404, "no stand-in answers here"),
    }
}

/// One example reads `id` of a pet, another `petId`.
fn pet(id: u64) -> Value {
    json!({ "id": id, "petId": id, "name": "Milou", "status": "available" })
}

fn petstore(method: &str, rest: &[&str], asked: &Asked) -> Answer {
    match (method, rest) {
        ("GET", ["swagger.json"]) => fine(petstore_description()),
        ("GET", ["pet", "findByStatus"]) if asked.query == "status=available" => fine(json!([pet(1), pet(2)])),
        ("GET", ["pet", "findByStatus"]) => fine(json!([])),
        ("GET", ["pet", id]) => match id.parse() {
            Ok(id) => fine(pet(id)),
            Err(_) => refused(404, "Pet not found"),
        },
        ("PUT", ["pet", _]) => fine(asked.json()),
        _ => refused(404, "Pet not found"),
    }
}

/// What `call: openapi` needs to know of the pet store.
fn petstore_description() -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Pet store", "version": "1.0.0" },
        "host": "petstore.swagger.io",
        "basePath": "/v2",
        "schemes": ["https"],
        "paths": {
            "/pet/findByStatus": { "get": {
                "operationId": "findPetsByStatus",
                "produces": ["application/json"],
                "parameters": [{
                    "name": "status", "in": "query", "required": true, "type": "array",
                    "items": { "type": "string" }, "collectionFormat": "multi",
                }],
                "responses": { "200": { "description": "pets" } },
            }},
            "/pet/{petId}": { "get": {
                "operationId": "getPetById",
                "produces": ["application/json"],
                "parameters": [{
                    "name": "petId", "in": "path", "required": true, "type": "integer", "format": "int64",
                }],
                "responses": { "200": { "description": "a pet" } },
            }},
        },
    })
}

fn basic(user: &str, password: &str, asked: &Asked) -> Answer {
    use base64::Engine as _;
    let expected = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    if asked.authorization == format!("Basic {expected}") {
        fine(json!({ "authenticated": true, "user": user }))
    } else {
        refused(401, "another user or password")
    }
}

fn star_wars(rest: &[&str], asked: &Asked) -> Answer {
    let luke = json!({ "name": "Luke Skywalker", "homeworld": "https://swapi.dev/api/planets/1/" });
    match rest {
        ["people"] if asked.query.starts_with("search=") => fine(json!({ "count": 1, "results": [luke] })),
        ["people", "1"] => fine(luke),
        ["planets", "1"] => fine(json!({ "name": "Tatooine" })),
        _ => refused(404, "Not found"),
    }
}

fn keycloak(method: &str, rest: &[&str]) -> Answer {
    let base = "http://keycloak/realms/fake-authority";
    match (method, rest) {
        ("GET", [".well-known", "openid-configuration"]) => fine(json!({
            "issuer": base, "token_endpoint": format!("{base}/oauth2/token"),
        })),
        ("POST", ["auth" | "oauth2", "token"]) => {
            fine(json!({ "access_token": "a-token", "token_type": "Bearer", "expires_in": 60 }))
        }
        _ => refused(404, "Not found"),
    }
}

fn orders(method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", ["ordersservices.json"]) => fine(json!({
            "openapi": "3.0.0",
            "info": { "title": "Orders", "version": "1.0.0" },
            "servers": [{ "url": "http://myorg.io" }],
            "paths": {
                "/readings": { "post": { "operationId": "logreading", "responses": { "200": { "description": "logged" } } } },
                "/report": { "get": { "operationId": "produceReport", "responses": { "200": { "description": "a report" } } } },
            },
        })),
        ("POST", ["readings"]) => fine(json!({ "logged": true })),
        ("GET", ["report"]) => fine(json!({ "report": "warm" })),
        _ => refused(404, "Not found"),
    }
}
