//! What reaches outside becomes a call of a built-in step.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

use serde_json::{Value, json};
use stepmill_definition::compile;
use stepmill_definition::expression::Variables;
use stepmill_definition::plan::{Call, NodeKind, Plan};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: shop, name: orders, version: '1.0.0' }\n";

fn plan(rest: &str) -> Plan {
    compile(&format!("{HEAD}{rest}")).unwrap_or_else(|m| panic!("{m}")).plan
}

fn call(plan: &Plan) -> &Call {
    let calls = plan.nodes.iter().filter_map(|n| if let NodeKind::Call(call) = &n.kind { Some(call) } else { None });
    let [one] = calls.collect::<Vec<_>>()[..] else { panic!("not one call") };
    one
}

/// The step and its input.
fn input(plan: &Plan, given: &Value) -> (String, Value) {
    let call = call(plan);
    let secrets = json!({ "login": "<login>", "o-2": "<o-2>" });
    let vars = Variables(vec![("secrets".into(), secrets.into())]);
    let with = call.with.as_ref().unwrap().evaluate(given, &vars).unwrap();
    (call.kind.to_string(), (*with).clone())
}

#[test]
fn a_policy_comes_with_the_call_and_a_secret_stays_a_reference() {
    let uses = "use:
  secrets: [ login, o-2 ]
  authentications:
    o: { oauth2: { use: o-2 } }
    c:
      oauth2:
        authority: 'https://{realm}.example.com'
        endpoints: { token: '/t/{realm}' }
        grant: client_credentials
        client: { id: me, secret: '${ $secrets.login }' }
";
    let task = |name: &str| {
        let policy = format!("authentication: {{ {name} }}");
        plan(&format!(
            "{uses}do: [ {{ a: {{ call: http, with: {{ method: get, endpoint: {{ uri: 'https://h/{{id}}', {policy} }} }} }} }} ]"
        ))
    };
    let given = json!({ "id": "a b", "realm": "shop" });
    let auth = |name: &str| input(&task(name), &given).1["endpoint"].clone();
    assert_eq!(auth("use: o"), json!({ "uri": "https://h/a%20b", "authentication": { "oauth2": "<o-2>" } }));
    assert_eq!(auth("digest: { use: login }")["authentication"], json!({ "digest": "<login>" }));
    assert_eq!(
        auth("use: c")["authentication"],
        json!({ "oauth2": {
            "authority": "https://shop.example.com",
            "grant": "client_credentials",
            "endpoints": { "token": "/t/shop" },
            "client": { "id": "me", "secret": "<login>" },
        } })
    );
}

#[test]
fn openapi_mcp_script_and_shell_are_steps_of_workers() {
    let openapi = "do: [ { a: { call: openapi, with: { document: { endpoint: 'https://h/d.json' }, operationId: op,
      parameters: { id: '${ .id }' }, authentication: { bearer: { token: t } }, redirect: true } } } ]";
    assert_eq!(
        input(&plan(openapi), &json!({ "id": 7 })),
        (
            "openapi".into(),
            json!({ "document": "https://h/d.json", "authentication": { "bearer": { "token": "t" } },
                    "operationId": "op", "parameters": { "id": 7 }, "redirect": true })
        )
    );
    let mcp = "do: [ { a: { call: mcp, with: { method: tools/call, parameters: '${ .p }', timeout: PT3S,
      transport: { http: { endpoint: 'https://h/{id}', headers: { a: b } } } } } } ]";
    assert_eq!(
        input(&plan(mcp), &json!({ "id": 7, "p": { "name": "add" } })),
        (
            "mcp".into(),
            json!({ "method": "tools/call", "parameters": { "name": "add" }, "timeout": 3000,
                    "transport": { "http": { "endpoint": "https://h/7", "headers": { "a": "b" } } } })
        )
    );
    let script =
        "do: [ { a: { run: { script: { language: js, source: { endpoint: 'https://h/{id}.js' } }, await: false },
      metadata: { pool: scripts } } } ]";
    let plan = self::plan(script);
    assert_eq!(call(&plan).pool.as_str(), "scripts");
    assert_eq!(
        input(&plan, &json!({ "id": 7 })),
        ("script".into(), json!({ "source": "https://h/7.js", "language": "js", "passOn": { "id": 7 } }))
    );
}

#[test]
fn code_is_text_unless_all_of_it_is_an_expression() {
    let shell = |command: &str| {
        let command = serde_json::to_string(command).unwrap();
        compile(&format!("{HEAD}do: [ {{ a: {{ run: {{ shell: {{ command: {command} }}, return: code }} }} }} ]"))
            .unwrap()
    };
    let ran = |command: &str| input(&shell(command).plan, &json!({ "name": "a b" })).1["command"].clone();
    assert_eq!(ran("echo ${HOME}"), "echo ${HOME}");
    assert_eq!(ran("${HOME}/bin/x ${A}"), "${HOME}/bin/x ${A}");
    assert_eq!(ran("${ \"echo \\(.name | @sh)\" }"), "echo 'a b'");
    assert!(shell("echo ${HOME}").warnings.is_empty());
    let warnings = shell("echo \"Hello, ${ .user.name }\"").warnings;
    assert!(warnings[0].help.contains("`arguments`"), "{warnings:?}");
}

#[test]
fn what_a_grant_needs_is_asked_for() {
    for (policy, missing) in [
        ("oauth2: { authority: 'https://a', grant: password, username: u }", "`password`"),
        ("oidc: { authority: 'https://a', grant: client_credentials }", "`client`"),
        ("oauth2: { authority: 'https://a', grant: refresh_token }", "`subject`"),
        (
            "oauth2: { authority: 'https://a', grant: client_credentials, client: { id: me, authentication: private_key_jwt } }",
            "`client.assertion`",
        ),
        ("oauth2: { authority: '${ .a }', grant: client_credentials, client: { id: me } }", "cannot be an expression"),
    ] {
        let source = format!(
            "{HEAD}do: [ {{ a: {{ call: http, with: {{ method: get, endpoint: {{ uri: 'https://h', authentication: {{ {policy} }} }} }} }} }} ]"
        );
        let mistakes = compile(&source).unwrap_err();
        assert!(mistakes.list().iter().any(|m| m.message.contains(missing)), "{policy}: {mistakes}");
    }
}

#[test]
fn an_mcp_server_cannot_be_asked_by_digest() {
    let source = format!(
        "{HEAD}use: {{ authentications: {{ d: {{ digest: {{ username: u, password: p }} }} }} }}
do: [ {{ a: {{ call: mcp, with: {{ method: tools/list,
  transport: {{ http: {{ endpoint: {{ uri: 'https://h', authentication: {{ use: d }} }} }} }} }} }} }} ]"
    );
    let mistakes = compile(&source).unwrap_err();
    assert!(mistakes.to_string().contains("digest authentication of an MCP server"), "{mistakes}");
}
