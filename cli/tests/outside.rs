//! Calls that reach outside, end to end on the embedded adapters: definitions, engine, workers, and servers and processes as
//! they are in life.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepmill::Local;
use stepmill::worker::Secrets;
use stepmill::worker::builtin::{self, RunRules, Runnable};
use wiremock::matchers::{any, body_json, body_string_contains, header, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: default, name: flow, version: '1.0.0' }\n";

async fn local(rules: RunRules, secrets: &[(&str, String)]) -> Local {
    let variables: BTreeMap<String, String> =
        secrets.iter().map(|(name, value)| (Secrets::variable(name), value.clone())).collect();
    Local::start(|worker| builtin::register_calls(worker.secrets(Secrets::of(variables)), rules).unwrap())
        .await
        .unwrap()
}

async fn run(local: &Local, flow: &str, input: Value) -> Result<Value, stepmill::worker::protocol::Problem> {
    local.define(&format!("{HEAD}{flow}")).await.unwrap();
    local.run("flow", &input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_policy_that_is_a_whole_secret() {
    let authority = MockServer::start().await;
    let token = json!({ "access_token": "t0k", "expires_in": 300 });
    Mock::given(path("/oauth2/token"))
        .and(body_string_contains("client_secret=hunter2"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .expect(1)
        .mount(&authority)
        .await;
    let api = MockServer::start().await;
    Mock::given(path("/pets/a%2Fb"))
        .and(query_param("full", "yes"))
        .and(header("authorization", "Bearer t0k"))
        .and(header("x-team", "blue"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "name": "Rex" })))
        .expect(2)
        .mount(&api)
        .await;
    let policy = json!({ "authority": authority.uri(), "grant": "client_credentials", "client": { "id": "me", "secret": "hunter2" } });
    let flow = format!(
        "use:
  secrets: [ pet-login ]
  authentications: {{ pets: {{ oauth2: {{ use: pet-login }} }} }}
do:
  - both:
      for: {{ in: '${{ [1, 2] }}' }}
      do:
        - pet:
            call: http
            with:
              method: get
              endpoint: {{ uri: '{}/pets/{{id}}', authentication: {{ use: pets }} }}
              query: {{ full: '${{ .full }}' }}
              headers: '${{ {{\"x-team\": .team}} }}'
            output: {{ as: '${{ $input + {{ name: .name }} }}' }}
",
        api.uri()
    );
    let local = local(RunRules::default(), &[("pet-login", policy.to_string())]).await;
    let output = run(&local, &flow, json!({ "id": "a/b", "full": "yes", "team": "blue" })).await.unwrap();
    assert_eq!(output["name"], "Rex");
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_call_is_caught_by_the_standard_s_kind() {
    let api = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(403)).mount(&api).await;
    let flow = format!(
        "do:
  - attempt:
      try: [ {{ pet: {{ call: http, with: {{ method: get, endpoint: '{}' }} }} }} ]
      catch:
        errors: {{ with: {{ type: 'https://open-workflow-specification.org/spec/1.0.0/errors/authorization', status: 403 }} }}
        do: [ {{ note: {{ set: {{ caught: '${{ $error.status }}' }} }} }} ]
",
        api.uri()
    );
    let local = local(RunRules::default(), &[]).await;
    assert_eq!(run(&local, &flow, Value::Null).await.unwrap(), json!({ "caught": 403 }));
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_a_document() {
    let server = MockServer::start().await;
    let document = json!({ "openapi": "3.1.0", "paths": { "/pets": { "post": {
        "operationId": "addPet", "requestBody": { "content": { "application/json": {} } } } } } });
    Mock::given(path("/api.json"))
        .respond_with(ResponseTemplate::new(200).set_body_json(document))
        .mount(&server)
        .await;
    Mock::given(path("/pets"))
        .and(body_json(json!({ "name": "Rex" })))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "id": 7 })))
        .mount(&server)
        .await;
    let flow = format!(
        "do:
  - add:
      call: openapi
      with:
        document: {{ endpoint: '{}/api.json' }}
        operationId: addPet
        parameters: {{ body: {{ name: '${{ .pet }}' }} }}
        output: response
      output: {{ as: '${{ [.statusCode, .content.id] }}' }}
",
        server.uri()
    );
    let local = local(RunRules::default(), &[]).await;
    assert_eq!(run(&local, &flow, json!({ "pet": "Rex" })).await.unwrap(), json!([201, 7]));
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_an_mcp_server() {
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../worker/tests/mcp_server.py");
    let flow = format!(
        "use: {{ secrets: [ token ] }}
do:
  - add:
      call: mcp
      with:
        method: tools/call
        parameters: {{ name: add, arguments: {{ a: '${{ .a }}', b: 3 }} }}
        transport:
          stdio: {{ command: python3, arguments: [ '{server}' ], environment: {{ TOKEN: '${{ $secrets.token }}' }} }}
      output: {{ as: .structuredContent }}
"
    );
    let allowed = RunRules::default().allow(Runnable::Mcp);
    let local = local(allowed, &[("token", "hunter2".into())]).await;
    let output = run(&local, &flow, json!({ "a": 2 })).await.unwrap();
    assert_eq!((&output["sum"], &output["arguments"]), (&json!(5), &json!([])));
    assert!(output["key"].as_str().unwrap().contains(":/do/0/add:"), "{output}");
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_commands_run_where_they_are_allowed() {
    let flow = "do:
  - shout:
      run:
        shell: { stdin: '${ .text }', command: 'tr a-z A-Z' }
  - count:
      run:
        script:
          language: python
          arguments: [ '${ . }' ]
          code: |
            import sys
            print(len(sys.argv[1]), end='')
            sys.exit(3)
        return: all
  - background:
      run: { shell: { command: 'true' }, await: false }
";
    let allowed = RunRules::default().allow(Runnable::Shell).allow(Runnable::Script);
    let local = local(allowed, &[]).await;
    let output = run(&local, flow, json!({ "text": "hello" })).await.unwrap();
    assert_eq!(output, json!({ "code": 3, "stdout": "5", "stderr": "" }));
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_fails_with_what_to_do() {
    let local = local(RunRules::default(), &[]).await;
    let problem = run(&local, "do: [ { a: { run: { shell: { command: ls } } } } ]\n", Value::Null).await.unwrap_err();
    assert_eq!(problem.status, 403);
    assert!(problem.to_string().contains("`--allow-run shell`"), "{problem}");
    local.stop().await.unwrap();
}
