//! Builders against texts: the same document, the same plan.
#![allow(clippy::panic, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use stepmill_definition::build::{
    AnyTask, Authentication, Budget, Catch, EventFilter, Events, Extension, Join, Problem, ReadAs, Retry, Tasks, Then,
    Workflow, call, do_, emit, expr, for_each, fork, http, listen, llm, mcp_http, mcp_stdio, openapi, raise,
    raise_named, run_workflow, script, set, set_expression, shell, switch, try_, wait,
};
use stepmill_definition::{compile, digest};
use stepmill_protocol::{Digest, Priority};

/// YAML by another reader than ours.
fn yaml(source: &str) -> Value {
    serde_saphyr::from_str_with_options(source, serde_saphyr::options! { strict_booleans: true }).unwrap()
}

/// A plan without the address of its text.
fn plan(source: &str) -> String {
    let mut plan = compile(source).unwrap_or_else(|m| panic!("{m}\n{source}")).plan;
    plan.digest = Digest("".into());
    // validators of schemas show addresses of memory; the documents of the schemas are compared as JSON
    let shown =
        format!("{:#?}", plan.nodes.iter().map(|n| (&n.path, &n.then, &n.kind, &n.timeout)).collect::<Vec<_>>());
    format!("{shown}{:?}{:?}{:?}{:?}", plan.document, plan.timeout, plan.secrets, plan.schedule)
}

/// Says that a builder makes the same as a text.
fn same(built: &Workflow, text: &str) {
    assert_eq!(built.to_json(), yaml(text), "built:\n{}", built.to_yaml());
    assert_eq!(yaml(&built.to_yaml()), built.to_json(), "{}", built.to_yaml());
    assert_eq!(plan(&built.to_yaml()), plan(text));
    // written alike, they are the same text with the same address
    assert_eq!(digest(&sorted(&built.to_json()).to_string()), digest(&sorted(&yaml(text)).to_string()));
    assert_eq!(built.compile().unwrap().plan.digest, digest(&built.to_yaml()));
}

/// The same value with the keys of its objects in the order of the alphabet.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        plain => plain.clone(),
    }
}

fn one(name: &str, task: impl Into<AnyTask>) -> Workflow {
    Workflow::new("n", "w", "1.0.0").task(name, task)
}

const HEAD: &str = "document: { dsl: '1.0.3', namespace: n, name: w, version: '1.0.0' }\n";

#[test]
fn the_whole_document() {
    let built = Workflow::new("shop", "orders", "1.0.0")
        .title("Orders")
        .summary("Takes orders")
        .tag("team", "core")
        .budget(Budget::new().money(2.5))
        .input_schema(json!({ "type": "object" }))
        .input_from(".order")
        .output_as(json!({ "id": expr(".id") }))
        .output_schema(json!({ "type": "object" }))
        .timeout(Duration::from_secs(5400))
        .secret("key")
        .secret("other")
        .retry("gently", Retry::new().delay("PT1S").linear().attempts(3))
        .define_error(
            "gone",
            Problem::new("https://shop.example.com/gone", 410).title("Gone").detail("no").instance("/x"),
        )
        .define_timeout("short", Duration::from_millis(1500))
        .define_authentication("basic", Authentication::basic("u", "${ $secrets.key }"))
        .define_function("twice", call("double").with(json!({ "n": 2 })))
        .task("first", call("twice").argument("n", 1).timeout_named("short"))
        .task("fail", raise_named("gone"));
    same(
        &built,
        "
document:
  dsl: '1.0.3'
  namespace: shop
  name: orders
  version: '1.0.0'
  title: Orders
  summary: Takes orders
  tags: { team: core }
  metadata: { budget: { money: 2.5 } }
input: { schema: { document: { type: object } }, from: .order }
output: { as: { id: '${ .id }' }, schema: { document: { type: object } } }
timeout: { after: { hours: 1, minutes: 30 } }
use:
  secrets: [ key, other ]
  retries: { gently: { delay: PT1S, backoff: { linear: {} }, limit: { attempt: { count: 3 } } } }
  errors: { gone: { type: 'https://shop.example.com/gone', status: 410, title: Gone, detail: 'no', instance: /x } }
  timeouts: { short: { after: { seconds: 1, milliseconds: 500 } } }
  authentications: { basic: { basic: { username: u, password: '${ $secrets.key }' } } }
  functions: { twice: { call: double, with: { n: 2 } } }
do:
  - first: { call: twice, with: { n: 1 }, timeout: short }
  - fail: { raise: { error: gone } }
",
    );
}

#[test]
fn what_every_task_has() {
    let task = set(json!({ "a": 1 }))
        .when(".ok")
        .input_schema(json!({ "type": "object" }))
        .input_from(".a")
        .output_as(".b")
        .output_schema(json!(true))
        .export_as("$context + .")
        .export_schema(json!({}))
        .timeout("PT5S")
        .then(Then::End)
        .budget(Budget::new().turns(3).tool_calls(4).tokens(5).money(0.5))
        .metadata("owner", "me");
    same(
        &one("a", task),
        &format!(
            "{HEAD}do:
  - a:
      set: {{ a: 1 }}
      if: .ok
      input: {{ schema: {{ document: {{ type: object }} }}, from: .a }}
      output: {{ as: .b, schema: {{ document: true }} }}
      export: {{ as: $context + ., schema: {{ document: {{}} }} }}
      timeout: {{ after: PT5S }}
      then: end
      metadata: {{ budget: {{ turns: 3, toolCalls: 4, tokens: 5, money: 0.5 }}, owner: me }}
"
        ),
    );
}

#[test]
fn every_kind_of_task() {
    let list = || Tasks::new().task("w", wait(Duration::from_secs(1)));
    let inner = "[ { w: { wait: { seconds: 1 } } } ]";
    let cases: Vec<(AnyTask, String)> = vec![
        (call("work").with(json!({ "a": [1, null] })).pool("gpu").priority(Priority::High).into(), "{ call: work, with: { a: [ 1, null ] }, metadata: { pool: gpu, priority: high } }".into()),
        (
            http("post", "https://h/{id}").header("A", "b").query("q", "${ .q }").body(json!({ "x": 1 })).output("response").redirect(false).authentication(Authentication::bearer("t")).into(),
            "{ call: http, with: { method: post, endpoint: { uri: 'https://h/{id}', authentication: { bearer: { token: t } } }, headers: { A: b }, query: { q: '${ .q }' }, body: { x: 1 }, output: response, redirect: false } }".into(),
        ),
        (
            openapi("https://h/openapi.yaml", "find").parameter("a", 1).output("content").redirect(true).authentication(Authentication::digest("u", "p")).into(),
            "{ call: openapi, with: { document: { endpoint: 'https://h/openapi.yaml' }, operationId: find, parameters: { a: 1 }, output: content, redirect: true, authentication: { digest: { username: u, password: p } } } }".into(),
        ),
        (
            mcp_http("https://h/mcp", "tools/call").parameters(json!({ "name": "add", "arguments": { "a": 1 } })).answer_within("PT5S").protocol_version("2025-06-18").client("me", "1").into(),
            "{ call: mcp, with: { method: tools/call, transport: { http: { endpoint: 'https://h/mcp' } }, parameters: { name: add, arguments: { a: 1 } }, timeout: PT5S, protocolVersion: '2025-06-18', client: { name: me, version: '1' } } }".into(),
        ),
        (mcp_stdio("server", &["--fast"], "tools/list").into(), "{ call: mcp, with: { method: tools/list, transport: { stdio: { command: server, arguments: [ --fast ] } } } }".into()),
        (
            llm("hi").system("be kind").answer_schema(json!({ "type": "string" })).model("m").temperature(0.5).max_tokens(9).priority(Priority::Low).into(),
            "{ call: llm, with: { prompt: hi, system: be kind, schema: { type: string }, model: m, temperature: 0.5, max_tokens: 9 }, metadata: { priority: low } }".into(),
        ),
        (script("python", "print(1)").arguments(&["a"]).environment("A", "b").stdin("${ .text }").returns("all").pool("tools").into(), "{ run: { script: { language: python, code: print(1), arguments: [ a ], environment: { A: b }, stdin: '${ .text }' }, return: all }, metadata: { pool: tools } }".into()),
        (shell("ls").stdin("x").into(), "{ run: { shell: { command: ls, stdin: x } } }".into()),
        (
            run_workflow("n", "other", "1.0.0").input(json!({ "a": expr(".a") })).into(),
            "{ run: { workflow: { namespace: n, name: other, version: '1.0.0', input: { a: '${ .a }' } } } }".into(),
        ),
        (
            run_workflow("n", "other", "latest").detached().without_output().into(),
            "{ run: { workflow: { namespace: n, name: other, version: latest }, await: false, return: none } }".into(),
        ),
        (set(json!({ "a": expr(".b") })).into(), "{ set: { a: '${ .b }' } }".into()),
        (set_expression("{a: 1}").into(), "{ set: '${ {a: 1} }' }".into()),
        (do_(list()).into(), format!("{{ do: {inner} }}")),
        (
            for_each(".xs", list()).variable("x").index("i").while_("$i < 5").concurrency(2).into(),
            format!("{{ for: {{ in: .xs, each: x, at: i }}, while: $i < 5, do: {inner}, metadata: {{ concurrency: 2 }} }}"),
        ),
        (for_each(json!([{ "a": 1 }]), list()).into(), format!("{{ for: {{ in: [ {{ a: 1 }} ] }}, do: {inner} }}")),
        (fork(list().task("v", wait("PT2S"))).compete().into(), "{ fork: { compete: true, branches: [ { w: { wait: { seconds: 1 } } }, { v: { wait: PT2S } } ] } }".into()),
        (fork(list()).join(Join::Settled).into(), format!("{{ fork: {{ branches: {inner} }}, metadata: {{ onFailure: continue }} }}")),
        (fork(list()).join(Join::Count(1)).into(), format!("{{ fork: {{ branches: {inner} }}, metadata: {{ join: {{ count: 1 }} }} }}")),
        (fork(list()).join(Join::First).into(), format!("{{ fork: {{ branches: {inner} }}, metadata: {{ join: first }} }}")),
        (for_each(".xs", list()).concurrency(3).join(Join::Any).into(), format!("{{ for: {{ in: .xs }}, do: {inner}, metadata: {{ concurrency: 3, join: any }} }}")),
        (for_each(".xs", list()).concurrency(3).join(Join::All).into(), format!("{{ for: {{ in: .xs }}, do: {inner}, metadata: {{ concurrency: 3, join: all }} }}")),
        (switch().case("one", ".a == 1", Then::Exit).case("two", ".b", "t").otherwise("rest", Then::Continue).into(), "{ switch: [ { one: { when: .a == 1, then: exit } }, { two: { when: .b, then: t } }, { rest: { then: continue } } ] }".into()),
        (try_(list()).into(), format!("{{ try: {inner}, catch: {{}} }}")),
        (
            try_(list())
                .catch(
                    Catch::new()
                        .error_type("https://e.com/x")
                        .status(503)
                        .with("title", "t")
                        .named("err")
                        .when("$err.status == 503")
                        .except_when("$err.status == 501")
                        .retry(
                            Retry::new()
                                .when("$err.status > 500")
                                .except_when("$err.status == 501")
                                .delay(Duration::from_secs(1))
                                .exponential()
                                .jitter("PT0S", "PT1S")
                                .attempts(4)
                                .attempt_duration("PT9S")
                                .duration("PT5M"),
                        )
                        .tasks(list())
                        .then(Then::End),
                )
                .into(),
            format!("{{ try: {inner}, catch: {{ errors: {{ with: {{ type: 'https://e.com/x', status: 503, title: t }} }}, as: err, when: $err.status == 503, exceptWhen: $err.status == 501, retry: {{ when: $err.status > 500, exceptWhen: $err.status == 501, delay: {{ seconds: 1 }}, backoff: {{ exponential: {{}} }}, jitter: {{ from: PT0S, to: PT1S }}, limit: {{ attempt: {{ count: 4, duration: PT9S }}, duration: PT5M }} }}, do: {inner}, then: end }} }}"),
        ),
        (try_(list()).catch(Catch::new().retry(Retry::new().exponential_by(3.0).attempts(2))).into(), format!("{{ try: {inner}, catch: {{ retry: {{ backoff: {{ exponential: {{ factor: 3.0 }} }}, limit: {{ attempt: {{ count: 2 }} }} }} }} }}")),
        (try_(list()).catch(Catch::new().retry(Retry::new().constant().attempts(2))).into(), format!("{{ try: {inner}, catch: {{ retry: {{ backoff: {{ constant: {{}} }}, limit: {{ attempt: {{ count: 2 }} }} }} }} }}")),
        (raise(Problem::new("https://e.com/x", 400).title("T").detail("${ .why }")).into(), "{ raise: { error: { type: 'https://e.com/x', status: 400, title: T, detail: '${ .why }' } } }".into()),
        (
            listen(Events::any([EventFilter::of_type("a"), EventFilter::with("source", "/s").data("${ .n > 1 }")]).until("length > 2"))
                .read(ReadAs::Envelope)
                .for_each(list())
                .variable("e")
                .index("n")
                .each_output_as("${ .data }")
                .each_export_as("${ . }")
                .into(),
            format!("{{ listen: {{ to: {{ any: [ {{ with: {{ type: a }} }}, {{ with: {{ source: /s, data: '${{ .n > 1 }}' }} }} ], until: length > 2 }}, read: envelope }}, foreach: {{ do: {inner}, item: e, at: n, output: {{ as: '${{ .data }}' }}, export: {{ as: '${{ . }}' }} }} }}"),
        ),
        (
            listen(Events::any([]).until_events(Events::one(EventFilter::of_type("stop")))).into(),
            "{ listen: { to: { any: [], until: { one: { with: { type: stop } } } } } }".into(),
        ),
        (
            listen(Events::all([EventFilter::of_type("a").correlate("k", ".data.k"), EventFilter::of_type("b").correlate_with("k", ".data.k", "${ .k }")])).into(),
            "{ listen: { to: { all: [ { with: { type: a }, correlate: { k: { from: .data.k } } }, { with: { type: b }, correlate: { k: { from: .data.k, expect: '${ .k }' } } } ] } } }".into(),
        ),
        (emit("a").data(json!({ "n": expr(".n") })).attribute("subject", "s").into(), "{ emit: { event: { with: { type: a, data: { n: '${ .n }' }, subject: s } } } }".into()),
        (
            emit("a").endpoint("https://h").authentication(Authentication::bearer("t")).pool("hub").priority(Priority::High).into(),
            "{ emit: { event: { with: { type: a } } }, metadata: { endpoint: { uri: 'https://h', authentication: { bearer: { token: t } } }, pool: hub, priority: high } }".into(),
        ),
        (wait(Duration::ZERO).into(), "{ wait: { seconds: 0 } }".into()),
    ];
    for (task, text) in cases {
        same(
            &one("s", task).task("t", set(json!({ "z": 1 }))),
            &format!("{HEAD}do: [ {{ s: {text} }}, {{ t: {{ set: {{ z: 1 }} }} }} ]"),
        );
    }
}

#[test]
fn what_stands_around_the_tasks() {
    let beat = || Workflow::new("n", "w", "1.0.0").task("t", set(json!({ "z": 1 })));
    let text = |schedule: &str| format!("{HEAD}schedule: {{ {schedule} }}\ndo: [ {{ t: {{ set: {{ z: 1 }} }} }} ]");
    same(&beat().every(Duration::from_secs(5)), &text("every: { seconds: 5 }"));
    same(&beat().cron("0 6 * * MON"), &text("cron: 0 6 * * MON"));
    same(&beat().after("PT1M"), &text("after: PT1M"));
    let on = beat().on(Events::one(EventFilter::of_type("a")), ReadAs::Raw);
    same(&on, &text("on: { one: { with: { type: a } } }, read: raw"));
    let undo = Workflow::new("n", "w", "1.0.0").define_function("undo", call("take-back"));
    same(
        &undo.task("t", call("work").compensate("undo")),
        &format!(
            "{HEAD}use: {{ functions: {{ undo: {{ call: take-back }} }} }}\ndo: [ {{ t: {{ call: work, metadata: {{ compensate: undo }} }} }} ]"
        ),
    );
    let list = || Tasks::new().task("w", wait("PT1S"));
    let both = beat().extension("a", Extension::of("set").when("$task.name == \"t\"").before(list()).after(list()));
    same(
        &both.extension("b", Extension::of("all").after(list())),
        &format!(
            "{HEAD}use: {{ extensions: [ {{ a: {{ extend: set, when: '$task.name == \"t\"', before: [ {{ w: {{ wait: PT1S }} }} ], after: [ {{ w: {{ wait: PT1S }} }} ] }} }}, {{ b: {{ extend: all, after: [ {{ w: {{ wait: PT1S }} }} ] }} }} ] }}\ndo: [ {{ t: {{ set: {{ z: 1 }} }} }} ]"
        ),
    );
}

#[test]
fn mistakes_stand_at_places_of_the_text() {
    let wrong = one("a", set(json!({ "x": expr(".a +") })).then("nowhere"));
    let mistakes = wrong.compile().unwrap_err();
    let paths: Vec<&str> = mistakes.list().iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths.len(), 2, "{mistakes}");
    assert!(paths.iter().all(|p| p.starts_with("/do/0/a")), "{paths:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever texts stand in a document, its YAML is read as what was built.
    #[test]
    fn any_text_survives(texts in proptest::collection::vec("\\PC{0,12}|[ \\t\\n'\":#&*!|>%@`{}\\[\\],?~-]{0,6}|(yes|no|on|null|~|1e3|0x1F|1\\.0|007|true|\\.inf|<<|=)", 1..6), name in "[a-zäöü~/ :#]{1,8}") {
        let value = json!({ "texts": texts, "first": { texts[0].clone(): 1 } });
        let built = one(&name, set(json!({ "value": value.clone() })));
        let read = compile(&built.to_yaml());
        // what looks like a broken expression is refused; everything else comes out as it went in
        if let Ok(compiled) = read {
            let node = compiled.plan.nodes.iter().find(|n| n.parent.is_some()).unwrap();
            prop_assert_eq!(&*node.name, name.as_str());
            prop_assert_eq!(&node.definition["set"]["value"], &value);
        } else {
            prop_assert!(texts.iter().any(|t| t.trim().starts_with("${")), "{}\n{}", read.unwrap_err(), built.to_yaml());
        }
    }
}
