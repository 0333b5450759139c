//! What plans come out of definitions.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

use serde_json::json;
use stepmill_definition::expression::Variables;
use stepmill_definition::plan::{DurationSpec, Next, Node, NodeKind, Plan, Template};
use stepmill_definition::{Compiled, compile};
use stepmill_protocol::{Millis, Priority};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: test, name: sample, version: '1.2.3' }\n";

fn compiled(body: &str) -> Compiled {
    compile(&format!("{HEAD}{body}")).unwrap_or_else(|m| panic!("{m}"))
}

fn plan(body: &str) -> Plan {
    compiled(body).plan
}

fn node<'p>(plan: &'p Plan, path: &str) -> &'p Node {
    plan.nodes.iter().find(|n| &*n.path.0 == path).unwrap_or_else(|| {
        panic!("no {path} in {:?}", plan.nodes.iter().map(|n| n.path.0.to_string()).collect::<Vec<_>>())
    })
}

#[test]
fn paths_are_those_of_the_standard() {
    let plan = plan(
        r"
use:
  functions:
    twice: { do: [ { a: { set: { x: 1 } } } ] }
do:
  - first: { set: { a: 1 } }
  - loop:
      for: { in: .items }
      do:
        - step: { call: work }
  - t:
      try: [ { x: { call: work } } ]
      catch: { do: [ { y: { set: { a: 2 } } } ] }
  - f: { fork: { branches: [ { b: { wait: PT1S } }, { c: { do: [ { d: { wait: PT1S } } ] } } ] } }
  - called: { call: twice, with: { n: 1 } }
  - odd/na~me: { set: { a: 3 } }
",
    );
    let mut paths: Vec<String> = plan.nodes.iter().map(|n| n.path.0.to_string()).collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/do",
            "/do/0/first",
            "/do/1/loop",
            "/do/1/loop/do",
            "/do/1/loop/do/0/step",
            "/do/2/t",
            "/do/2/t/catch/do",
            "/do/2/t/catch/do/0/y",
            "/do/2/t/try",
            "/do/2/t/try/0/x",
            "/do/3/f",
            "/do/3/f/fork/branches/0/b",
            "/do/3/f/fork/branches/1/c",
            "/do/3/f/fork/branches/1/c/do/0/d",
            "/do/4/called",
            "/do/4/called/use/functions/twice",
            "/do/4/called/use/functions/twice/do/0/a",
            "/do/5/odd~1na~0me",
        ]
    );
    for (i, n) in plan.nodes.iter().enumerate() {
        assert_eq!(n.id.0 as usize, i);
        assert_eq!(n.parent.is_none(), n.id == plan.root, "{}", n.path);
    }
    assert_eq!((plan.name.as_str(), plan.version.0.as_str()), ("sample", "1.2.3"));
    assert_eq!(plan.document["name"], json!("sample"));
    assert_eq!(node(&plan, "/do/0/first").definition, json!({"set": {"a": 1}}));
}

#[test]
fn directives_are_resolved_in_their_own_list() {
    let plan = plan(
        r"
do:
  - choose:
      switch:
        - big: { when: .n > 5, then: last }
        - back: { when: '${ .n == 3 }', then: choose }
        - other: { then: exit }
  - middle: { set: { a: 1 }, then: end }
  - last: { do: [ { inner: { set: { a: 1 }, then: exit } } ] }
",
    );
    let NodeKind::Switch { cases } = &node(&plan, "/do/0/choose").kind else { panic!() };
    let id = |path: &str| node(&plan, path).id;
    assert_eq!(cases[0].then, Next::To(id("/do/2/last")));
    assert_eq!(cases[1].then, Next::To(id("/do/0/choose")));
    assert_eq!(cases[2].then, Next::Exit);
    assert!(cases[2].when.is_none());
    assert_eq!(node(&plan, "/do/1/middle").then, Next::End);
    assert_eq!(node(&plan, "/do/2/last/do/0/inner").then, Next::Exit);
    assert!(cases[0].when.as_ref().unwrap().holds(&json!({"n": 6}), &Variables::default()).unwrap());
}

#[test]
fn the_worker_may_follow_a_plain_retry_policy() {
    let with = |catch: &str| {
        let plan = plan(&format!("do: [ {{ t: {{ try: [ {{ x: {{ call: work }} }} ], catch: {catch} }} }} ]"));
        let NodeKind::Call(call) = &node(&plan, "/do/0/t/try/0/x").kind else { panic!() };
        call.broker_retry.clone()
    };
    let limit = "delay: PT2S, backoff: { exponential: {} }, limit: { attempt: { count: 4 }, duration: PT1H }";
    let policy = with(&format!("{{ retry: {{ {limit} }} }}")).unwrap();
    assert_eq!((policy.delay, policy.attempts_max, policy.duration_max), (Millis(2000), 4, Some(Millis(3_600_000))));
    assert_eq!(policy.base_delay(3), Millis(8000));
    for catch in [
        "{ do: [] }".to_owned(),
        format!("{{ when: .status == 503, retry: {{ {limit} }} }}"),
        format!("{{ errors: {{ with: {{ status: 503 }} }}, retry: {{ {limit} }} }}"),
        format!("{{ retry: {{ {limit}, when: .status == 503 }} }}"),
        "{ retry: { delay: '${ .d }', limit: { attempt: { count: 2 } } } }".to_owned(),
        "{ retry: { limit: { attempt: { count: 2, duration: PT1S } } } }".to_owned(),
    ] {
        assert!(with(&catch).is_none(), "{catch}");
    }
}

#[test]
fn calls_know_pool_priority_and_input() {
    let plan = plan(
        r"
use:
  secrets: [ token ]
  authentications:
    mine: { bearer: { token: '${ $secrets.token }' } }
do:
  - a: { call: llm, with: { prompt: '${ .q }' } }
  - b: { call: lookup, metadata: { pool: gpu, priority: high, 'x-other': 1 } }
  - c:
      call: http
      with:
        method: post
        endpoint: { uri: 'https://h/{id}', authentication: { use: mine } }
        headers: { X-A: 'b' }
        body: { n: '${ .n }' }
  - d: { for: { in: .xs, each: x, at: i }, while: '$i < 3', do: [ { e: { call: work, with: { x: '${ $x }' } } } ], metadata: { concurrency: 8 } }
",
    );
    let call = |path: &str| match &node(&plan, path).kind {
        NodeKind::Call(call) => call,
        other => panic!("{other:?}"),
    };
    assert_eq!(call("/do/0/a").pool.as_str(), "llm");
    let b = call("/do/1/b");
    assert_eq!((b.kind.as_str(), b.pool.as_str(), b.priority), ("lookup", "gpu", Priority::High));
    assert!(b.with.is_none());
    let vars = Variables(vec![("secrets".into(), json!({"token": "ref"}).into())]);
    let http = call("/do/2/c").with.as_ref().unwrap().evaluate(&json!({"id": "a b", "n": 3}), &vars).unwrap();
    assert_eq!(
        *http,
        json!({
            "method": "post",
            "endpoint": {"uri": "https://h/a%20b", "authentication": {"bearer": {"token": "ref"}}},
            "headers": {"X-A": "b"},
            "body": {"n": 3},
        })
    );
    let NodeKind::For { each, at, concurrency, while_, .. } = &node(&plan, "/do/3/d").kind else { panic!() };
    assert_eq!((&**each, &**at, *concurrency, while_.is_some()), ("x", "i", Some(8), true));
}

#[test]
fn reusable_parts_are_put_in_place() {
    let plan = plan(
        r"
use:
  timeouts: { short: { after: { seconds: 5 } } }
  retries: { r: { delay: PT1S, limit: { attempt: { count: 3 } } } }
  errors: { e: { type: 'https://open-workflow-specification.org/spec/1.0.0/errors/runtime', status: 500, detail: '${ .d }' } }
  functions: { f: { call: work, with: { y: '${ .x + 1 }' } } }
timeout: short
do:
  - a: { call: f, with: { x: '${ .n }' }, timeout: short }
  - b: { try: [ { r: { raise: { error: e } } } ], catch: { retry: r, then: c } }
  - c: { wait: '${ .pause }' }
",
    );
    assert!(matches!(plan.timeout, Some(DurationSpec::Const(Millis(5000)))));
    let a = node(&plan, "/do/0/a");
    assert!(matches!(a.timeout, Some(DurationSpec::Const(Millis(5000)))));
    let NodeKind::Scope { with, body } = &a.kind else { panic!() };
    assert_eq!(*with.evaluate(&json!({"n": 4}), &Variables::default()).unwrap(), json!({"x": 4}));
    assert_eq!(&*plan.node(*body).path.0, "/do/0/a/use/functions/f");
    let NodeKind::Raise { error } = &node(&plan, "/do/1/b/try/0/r").kind else { panic!() };
    let error = error.evaluate(&json!({"d": "x"}), &Variables::default()).unwrap();
    assert_eq!(error["type"], json!("https://serverlessworkflow.io/spec/1.0.0/errors/runtime"));
    assert_eq!(error["detail"], json!("x"));
    let NodeKind::Try { catch, .. } = &node(&plan, "/do/1/b").kind else { panic!() };
    assert_eq!(catch.then, Some(Next::To(node(&plan, "/do/2/c").id)));
    assert_eq!(&*catch.as_, "error");
    assert!(matches!(
        node(&plan, "/do/2/c").kind,
        NodeKind::Wait { duration: DurationSpec::Template(Template::Expr(_)) }
    ));
}

#[test]
fn what_looks_odd_is_accepted_with_a_warning() {
    for (body, code) in [
        ("do: [ { a: { set: { x: 1 }, then: end } }, { b: { set: { x: 1 } } } ]", "unreachable"),
        ("do: [ { a: { raise: { error: { type: x, status: 1 } } } }, { b: { set: { x: 1 } } } ]", "unreachable"),
        ("do: [ { a: { switch: [ { c: { then: exit } } ] } }, { b: { set: { x: 1 } } } ]", "unreachable"),
        ("do: [ { a: { try: [], catch: { retry: { delay: PT1S } } } } ]", "retry-limit"),
        ("do: [ { a: { set: { x: .customer.name } } } ]", "text"),
        ("do: [ { a: { set: { x: 'Hello ${ .name }' } } } ]", "text"),
        ("do: [ { a: { set: { x: 1 }, metadata: { pool: p } } } ]", "no-effect"),
        ("do: [ { a: { call: work, metadata: { prioritty: high } } } ]", "no-effect"),
    ] {
        let warnings = compiled(body).warnings;
        assert!(warnings.iter().any(|w| w.code == code), "{body}: {warnings:?}");
    }
    let clean = "do: [ { a: { switch: [ { c: { when: .x, then: b } } ] } }, { b: { set: { x: 1 }, if: .y, then: end } }, { c: { wait: PT1S } } ]";
    assert!(compiled(clean).warnings.is_empty());
}

#[test]
fn json_is_read_exactly() {
    let source = r#"{"document": {"dsl": "1.0.3", "namespace": "t", "name": "n", "version": "1.0.0"},
        "do": [{"a": {"set": {"big": 18446744073709551615, "small": -9223372036854775808, "f": 0.1, "s": "\u00e4\/", "t": "yes"}}}]}"#;
    let plan = compile(source).unwrap_or_else(|m| panic!("{m}")).plan;
    let NodeKind::Set { value: Template::Const(value) } = &node(&plan, "/do/0/a").kind else { panic!() };
    assert_eq!(**value, json!({"big": u64::MAX, "small": i64::MIN, "f": 0.1, "s": "ä/", "t": "yes"}));
    assert_eq!(plan.digest, stepmill_definition::digest(source));
}

#[test]
fn repeated_parts_are_bounded() {
    let mut bomb = String::from("do: [ { a: { set: { x0: &x0 [1, 2, 3, 4, 5, 6, 7, 8, 9]");
    for i in 1..12 {
        let repeat = vec![format!("*x{}", i - 1); 9].join(", ");
        bomb.push_str(&format!(", x{i}: &x{i} [{repeat}]"));
    }
    bomb.push_str(" } } } ]");
    let mistakes = compile(&format!("{HEAD}{bomb}")).unwrap_err();
    assert_eq!(mistakes.list()[0].code, "too-large");
    let deep = format!("{HEAD}do: [ {{ a: {{ set: {{ x: {}1{} }} }} }} ]", "[".repeat(5_000), "]".repeat(5_000));
    assert!(compile(&deep).is_err());
    let anchors = "do: [ { a: { set: &v { n: 1 } } }, { b: { set: *v } } ]";
    let plan = plan(anchors);
    assert_eq!(node(&plan, "/do/1/b").definition, json!({"set": {"n": 1}}));
}

#[test]
fn a_plan_may_be_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&plan("do: [ { a: { set: { x: '${ .a | length }' } } } ]"));
}
