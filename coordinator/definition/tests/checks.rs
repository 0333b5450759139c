//! What `check` finds in definitions that compile. `INSTA_UPDATE=always` writes the answers anew; read the difference.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

use std::fmt::Write as _;

use miette::{GraphicalReportHandler, GraphicalTheme};
use stepmill_definition::check::{Checked, Most, Options, check};
use stepmill_definition::plan::NodeKind;
use stepmill_definition::{Severity, compile};
use stepmill_protocol::StepKind;

const HEAD: &str = "document: { dsl: '1.0.3', namespace: shop, name: orders, version: '1.0.0' }\n";

fn checked(body: &str, steps: Option<&[&str]>) -> Checked {
    let source = format!("{HEAD}{body}");
    let compiled = compile(&source).unwrap_or_else(|m| panic!("{m}"));
    let steps = steps.map(|s| s.iter().map(|s| (*s).to_owned()).collect());
    check(&source, &compiled, &Options { steps })
}

/// The findings as `code: message`.
fn found(body: &str) -> Vec<String> {
    let checked = checked(body, None);
    checked.findings.list().iter().map(|m| format!("{}: {}", m.code, m.message)).collect()
}

fn shown(body: &str) -> String {
    let checked = checked(body, Some(&["charge", "agent"]));
    let findings = checked.findings.with_name("orders.yaml");
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(110);
    handler.render_report(&mut out, &findings.shown()).unwrap();
    writeln!(out, "{}", serde_json::to_string_pretty(&checked.bounds).unwrap()).unwrap();
    out
}

#[test]
fn every_check_shows_its_place() {
    let body = r"
do:
  - start:
      call: chrage
  - count:
      set: { total: '12' }
  - pay:
      input: { schema: { document: { type: object, required: [ total ], properties: { total: { type: number } } } } }
      call: charge
      timeout: { after: PT5S }
      then: think
  - lost: { set: { a: 1 } }
  - think:
      call: helper
      timeout: { after: PT5S }
  - each:
      for: { in: .xs }
      while: $workflow.input.go
      do: [ { x: { set: { a: 1 } } } ]
  - poll:
      call: http
      timeout: { after: PT5S }
      with: { method: get, endpoint: 'https://example.com' }
  - pause: { wait: PT1S, then: poll }
";
    insta::assert_snapshot!("every_check", shown(body));
}

/// Agents cannot be called yet; what will be said of those without a budget is tested on a plan that has one.
#[test]
fn agents_need_a_budget() {
    let agent = |metadata: &str| {
        let source =
            format!("{HEAD}do: [ {{ a: {{ call: helper, timeout: {{ after: PT1S }}, metadata: {metadata} }} }} ]");
        let mut compiled = compile(&source).unwrap();
        for node in &mut compiled.plan.nodes {
            if let NodeKind::Call(call) = &mut node.kind {
                call.kind = StepKind::new("agent").unwrap();
            }
        }
        let checked = check(&source, &compiled, &Options::default());
        let codes: Vec<&str> = checked.findings.list().iter().map(|m| m.code).collect();
        (codes, checked.bounds.model_calls, checked.bounds.money)
    };
    assert_eq!(agent("{}"), (vec!["missing-budget"], Most::Unbounded, None));
    assert_eq!(agent("{ budget: { turns: 8, money: 1.5 } }"), (vec![], Most::AtMost(8), Some(1.5)));
    assert_eq!(agent("{ budget: { money: 1.5 } }"), (vec![], Most::Unbounded, Some(1.5)));
}

#[test]
fn dead_tasks() {
    let none: [&str; 0] = [];
    assert_eq!(found("do: [ { a: { set: { x: 1 } } } ]"), none);
    let cases: [(&str, &[&str]); 8] = [
        // what ends inside of a task ends the list around it, too
        (
            "do: [ { a: { do: [ { r: { raise: { error: { type: 'https://e.com', status: 400 } } } } ] } }, { b: { set: { x: 1 } } } ]",
            &["unreachable: task `b` is never reached"],
        ),
        (
            "do: [ { f: { fork: { branches: [ { x: { do: [ { e: { set: { x: 1 }, then: end } } ] } }, { y: { set: { x: 1 } } } ] } } }, { b: { set: { x: 1 } } } ]",
            &["unreachable: task `b` is never reached"],
        ),
        ("do: [ { a: { if: 'false', set: { x: 1 } } } ]", &["unreachable: task `a` never runs: its `if` never holds"]),
        (
            "do: [ { l: { for: { in: '${ [] }' }, do: [ { x: { set: { a: 1 } } } ] } } ]",
            &["unreachable: the tasks of loop `l` never run: its list is empty"],
        ),
        (
            "do: [ { l: { for: { in: .xs }, while: 'false', do: [ { x: { set: { a: 1 } } } ] } } ]",
            &["unreachable: the tasks of loop `l` never run: its `while` never holds"],
        ),
        (
            "do: [ { s: { switch: [ { no: { when: '1 > 2', then: end } }, { yes: { when: 'true', then: exit } }, { more: { when: .x, then: exit } } ] } }, { after: { set: { a: 1 } } } ]",
            &[
                "unreachable: the case `no` never holds",
                "unreachable: the case `more` is never looked at: `yes` always holds",
                "unreachable: task `after` is never reached",
            ],
        ),
        // an error that is caught goes on
        (
            "do: [ { t: { try: [ { r: { raise: { error: { type: 'https://e.com', status: 400 } } } } ], catch: {} } }, { b: { set: { x: 1 } } } ]",
            &[],
        ),
        // the way back into a list that a jump led over
        (
            "do: [ { a: { set: { x: 1 }, then: c } }, { b: { set: { x: 1 }, then: end } }, { c: { set: { x: 1 }, then: b } } ]",
            &[],
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(found(body), expected, "{body}");
    }
}

/// A fork of one branch that works and one that always fails, and a task behind it.
fn joined(metadata: &str, schema: &str) -> Vec<String> {
    let fails = "{ raise: { error: { type: 'https://e.com', status: 400 } } }";
    found(&format!(
        "do: [ {{ f: {{ fork: {{ branches: [ {{ x: {fails} }}, {{ y: {{ set: {{ n: t }} }} }} ] }}, metadata: {metadata} }} }}, \
         {{ b: {{ set: {{ z: 1 }}, input: {{ schema: {{ document: {schema} }} }} }} }} ]"
    ))
}

#[test]
fn joins_say_what_goes_on_and_what_comes_out() {
    let none: [&str; 0] = [];
    let dead = ["unreachable: task `b` is never reached"];
    assert_eq!(joined("{}", "true"), dead);
    assert_eq!(joined("{ join: { count: 2 } }", "true"), dead);
    assert_eq!(joined("{ join: { count: 1 } }", "{ type: array }"), none);
    assert_eq!(joined("{ join: any }", "{ type: object }"), none);
    assert_eq!(joined("{ onFailure: continue }", "{ type: object, required: [ outputs ] }"), none);
    let clash = |what: &str| {
        [format!(
            "type-clash: what `{what}` gives never fits the input schema of `b`: it is an object and must be a list"
        )]
    };
    assert_eq!(joined("{ onFailure: continue }", "{ type: array }"), clash("f"));
    assert_eq!(joined("{ join: first }", "{ type: array }").len(), 1);
}

#[test]
fn loops_without_an_end() {
    let spins = "endless-loop: the loop that begins at `a` never ends and never waits";
    let waits = "endless-loop: nothing ends the loop that begins at `a` but a failure or a cancel";
    let cases: [(&str, &[&str]); 9] = [
        ("do: [ { a: { set: { x: 1 }, then: a } } ]", &[spins]),
        ("do: [ { a: { wait: PT1S } }, { b: { set: { x: 1 }, then: a } } ]", &[waits]),
        ("do: [ { a: { wait: PT1S } }, { b: { if: .more, set: { x: 1 }, then: a } } ]", &[]),
        (
            "do: [ { a: { set: { x: 1 } } }, { s: { switch: [ { out: { when: .x > 1, then: exit } }, { on: { then: a } } ] } } ]",
            &[],
        ),
        ("do: [ { a: { do: [ { w: { wait: PT1S } }, { e: { if: .x, set: { y: 1 }, then: end } } ], then: a } } ]", &[]),
        ("do: [ { a: { wait: PT1S, then: a } } ]\ntimeout: { after: PT1H }", &[]),
        ("do: [ { out: { timeout: { after: PT1H }, do: [ { a: { wait: PT1S, then: a } } ] } } ]", &[]),
        ("do: [ { l: { for: { in: .xs }, while: $index < 3, do: [ { x: { set: { a: 1 } } } ] } } ]", &[]),
        (
            "do: [ { l: { for: { in: .xs }, while: '$context.go and true', do: [ { x: { set: { a: 1 } } } ] } }, { m: { for: { in: .xs }, while: '$context.go', do: [ { x: { set: { a: 1 }, export: { as: . } } } ] } } ]",
            &[
                "constant-condition: `while` of loop `l` is the same before each iteration: it never ends the loop early",
            ],
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(found(body), expected, "{body}");
    }
}

#[test]
fn timeouts_may_stand_anywhere_above() {
    let missing = "missing-timeout: nothing limits how long `c` may wait for step `work`";
    let cases: [(&str, &[&str]); 5] = [
        ("do: [ { c: { call: work } } ]", &[missing]),
        ("do: [ { c: { call: work, timeout: { after: PT1S } } } ]", &[]),
        ("do: [ { o: { do: [ { c: { call: work } } ], timeout: { after: PT1S } } } ]", &[]),
        (
            "do: [ { t: { try: [ { c: { call: work } } ], catch: { retry: { limit: { attempt: { count: 2, duration: PT1S } } } } } } ]",
            &[],
        ),
        ("do: [ { c: { call: work } } ]\ntimeout: { after: PT1S }", &[]),
    ];
    for (body, expected) in cases {
        assert_eq!(found(body), expected, "{body}");
    }
}

#[test]
fn values_that_never_fit() {
    let clash = |body: &str| -> Vec<String> {
        found(body).into_iter().filter_map(|m| m.strip_prefix("type-clash: ").map(str::to_owned)).collect()
    };
    let wants = |schema: &str| format!("{{ set: {{ z: 1 }}, input: {{ schema: {{ document: {schema} }} }} }}");
    let none: [&str; 0] = [];
    // through tasks that hand their input on, into lists, and from the workflow's own input
    let through = format!(
        "do: [ {{ a: {{ set: {{ n: x }} }} }}, {{ w: {{ wait: PT1S }} }}, {{ b: {{ do: [ {{ c: {} }} ] }} }} ]",
        wants("{ type: object, properties: { n: { type: number } } }")
    );
    assert_eq!(
        clash(&through),
        [r#"what `a` gives never fits the input schema of `c`: /n: the value is not of type "number""#]
    );
    let first = format!(
        "input: {{ schema: {{ document: {{ type: array }} }} }}\ndo: [ {{ a: {} }} ]",
        wants("{ type: object }")
    );
    assert_eq!(
        clash(&first),
        ["the workflow's input never fits the input schema of `a`: it is a list and must be an object"]
    );
    // what an expression gives is not known
    let open = format!(
        "do: [ {{ a: {{ set: {{ n: '${{ .x }}' }} }} }}, {{ b: {} }} ]",
        wants("{ required: [ n ], properties: { n: { type: number } } }")
    );
    assert_eq!(clash(&open), none);
    let missing = format!(
        "do: [ {{ a: {{ set: {{ n: '${{ .x }}' }} }} }}, {{ b: {} }} ]",
        wants("{ required: [ m ] , type: object }")
    );
    assert_eq!(
        clash(&missing),
        ["what `a` gives never fits the input schema of `b`: `/m` is required and never there"]
    );
    // what was transformed is not known either
    let from = "do: [ { a: { set: { n: x } } }, { b: { set: { z: 1 }, input: { from: .n, schema: { document: { type: string } } } } } ]";
    assert_eq!(clash(from).len(), 1, "the schema is checked before `from`");
    // only what can go there counts: `a` is followed by `c`
    let jump = format!(
        "do: [ {{ a: {{ set: {{ n: x }}, then: c }} }}, {{ b: {} }}, {{ c: {{ set: {{ n: 1 }}, then: b }} }} ]",
        wants("{ properties: { n: { type: number } } }")
    );
    assert!(clash(&jump).is_empty(), "{:?}", clash(&jump));
    // both ends of a concurrent loop
    let each = format!(
        "do: [ {{ l: {{ for: {{ in: .xs }}, metadata: {{ concurrency: 2 }}, do: [ {{ x: {{ set: {{ a: 1 }} }} }} ] }} }}, {{ b: {} }} ]",
        wants("{ type: object }")
    );
    assert_eq!(clash(&each), ["what `l` gives never fits the input schema of `b`: it is a list and must be an object"]);
    let own = "do: [ { a: { set: { n: x }, output: { schema: { document: { type: array } } } } } ]\noutput: { schema: { document: { type: string } } }";
    assert_eq!(clash(own).len(), 2, "{:?}", clash(own));
}

#[test]
fn functions_are_shown_where_they_are_written() {
    let body = "use: { functions: { f: { call: work } } }\ndo: [ { a: { call: f } }, { b: { call: f } } ]";
    let checked = checked(body, Some(&["other"]));
    let list = checked.findings.list();
    let paths: Vec<&str> = list.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths, ["/use/functions/f", "/use/functions/f/call"]);
    assert!(list.iter().all(|m| m.span.is_some()));
}

mod bounds {
    use super::{Most, checked};

    fn most(body: &str) -> (Most, Most, Option<f64>, Vec<String>) {
        let bounds = checked(body, None).bounds;
        (bounds.steps, bounds.model_calls, bounds.money, bounds.unbounded.iter().map(|u| u.path.clone()).collect())
    }

    const ASK: &str = "{ call: llm, with: { prompt: hi }, metadata: { budget: { money: 0.25 } } }";

    #[test]
    fn loops_and_retries_multiply() {
        let body = format!(
            "do: [ {{ l: {{ for: {{ in: '${{ [1, 2, 3] }}' }}, do: [ {{ t: {{ try: [ {{ a: {ASK} }}, {{ b: {{ call: work }} }} ], catch: {{ retry: {{ limit: {{ attempt: {{ count: 4 }} }} }}, do: [ {{ c: {{ call: work }} }} ] }} }} }} ] }} }} ]"
        );
        // 3 rounds of 4 passes of two steps, and what follows the last pass
        assert_eq!(most(&body), (Most::AtMost(27), Most::AtMost(12), Some(3.0), Vec::new()));
    }

    #[test]
    fn the_dearest_way_counts() {
        let body = format!(
            "do: [ {{ s: {{ switch: [ {{ x: {{ when: .x, then: one }} }}, {{ y: {{ then: three }} }} ] }} }}, {{ one: {{ call: work, then: exit }} }}, {{ three: {{ do: [ {{ a: {{ call: work }} }}, {{ b: {{ call: work }} }}, {{ c: {ASK} }} ] }} }} ]"
        );
        assert_eq!(most(&body), (Most::AtMost(3), Most::AtMost(1), Some(0.25), Vec::new()));
    }

    #[test]
    fn branches_add_up() {
        let body =
            "do: [ { f: { fork: { compete: true, branches: [ { a: { call: work } }, { b: { call: work } } ] } } } ]";
        assert_eq!(most(body), (Most::AtMost(2), Most::AtMost(0), Some(0.0), Vec::new()));
    }

    #[test]
    fn what_has_no_bound_is_named() {
        let body =
            format!("do: [ {{ l: {{ for: {{ in: .xs }}, do: [ {{ a: {ASK} }} ] }} }}, {{ b: {{ call: work }} }} ]");
        assert_eq!(most(&body), (Most::Unbounded, Most::Unbounded, None, vec!["/do/0/l".to_owned()]));
        // a loop of pure tasks costs nothing; steps after it are counted
        let body = "do: [ { a: { set: { x: 1 } } }, { b: { if: .x, set: { x: 1 }, then: a } }, { c: { call: work } } ]";
        assert_eq!(most(body), (Most::AtMost(1), Most::AtMost(0), Some(0.0), Vec::new()));
        let body = "do: [ { a: { call: work } }, { b: { if: .x, call: llm, with: { prompt: hi }, then: a } } ]";
        let (steps, calls, money, why) = most(body);
        assert_eq!((steps, calls, money), (Most::Unbounded, Most::Unbounded, None));
        assert_eq!(why, ["/do/0/a"]);
    }

    #[test]
    fn a_budget_around_a_loop_bounds_its_money() {
        let body = "do: [ { o: { do: [ { a: { call: llm, with: { prompt: hi } } }, { b: { if: .x, set: { x: 1 }, then: a } } ], metadata: { budget: { money: 2 } } } } ]";
        let (_, calls, money, _) = most(body);
        assert_eq!((calls, money), (Most::Unbounded, Some(2.0)));
        assert!(!super::found(body).iter().any(|m| m.starts_with("missing-budget")));
        let without = body.replace(", metadata: { budget: { money: 2 } }", "");
        let found = super::found(&without);
        assert!(found.iter().any(|m| m.starts_with("missing-budget: the loop that begins at `a`")), "{found:?}");
    }
}

#[test]
fn the_workflows_that_we_ship_have_nothing_to_find() {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for example in std::fs::read_dir(root).unwrap() {
        let Ok(source) = std::fs::read_to_string(example.unwrap().path().join("workflow.yaml")) else { continue };
        let checked = check(&source, &compile(&source).unwrap(), &Options::default());
        assert_eq!(checked.findings.to_string(), "");
        assert_eq!(checked.count(Severity::Warning), 0);
        assert!(matches!((checked.bounds.steps, checked.bounds.model_calls), (Most::AtMost(_), Most::AtMost(_))));
        seen += 1;
    }
    assert!(seen > 0);
}
