//! Pictures of definitions. `INSTA_UPDATE=always` writes them anew; look at them (`STEPMILL_PICTURES` names a folder for them).
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and write what it draws"
)]

use serde_json::{Value, json};
use stepmill_definition::graph::{Marks, State, mermaid, svg};
use stepmill_definition::{compile, plan::Plan};
use stepmill_protocol::Timestamp;
use stepmill_protocol::api::{HistoryEntry, RunState, RunView};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: shop, name: orders, version: '1.0.0' }\n";
const ORDER: &str = "
do:
  - check:
      switch:
        - small: { when: .total < 100, then: ship }
        - blocked: { when: .blocked, then: end }
        - odd: { when: '.items == []', then: refuse }
  - approve:
      if: .total > 500
      call: ask-manager
      timeout: { after: PT24H }
  - charge:
      try:
        - pay:
            call: http
            with: { method: post, endpoint: 'https://pay.example.com/charges' }
      catch:
        errors: { with: { status: 503 } }
        retry: { limit: { attempt: { count: 5 } } }
        do:
          - wait: { wait: { minutes: 5 } }
        then: check
  - ship:
      fork:
        branches:
          - pack:
              for: { each: item, in: .items }
              do:
                - pick: { call: pick }
                - more: { if: .more, set: { again: true }, then: pick }
          - label: { call: print-label }
  - done: { set: { ok: true }, then: exit }
  - refuse:
      raise: { error: { type: 'https://shop.example.com/refused', status: 400, title: Nothing to ship } }
";

fn plan(body: &str) -> Plan {
    compile(&format!("{HEAD}{body}")).unwrap_or_else(|m| panic!("{m}")).plan
}

fn view(state: RunState, live: &Value, error: Option<Value>) -> RunView {
    let view = json!({
        "run": "018f4f2e-7b1c-7000-8000-000000000001", "namespace": "shop", "workflow": "orders", "version": "1.0.0",
        "digest": "00", "state": state, "rev": 1, "submitted_at": 0, "live": live, "steps_done": 0, "attempts_failed": 0,
        "error": error,
    });
    serde_json::from_value(view).unwrap()
}

/// Reports: path, and whether the attempt succeeded.
fn history(reports: &[(&str, bool)]) -> Vec<HistoryEntry> {
    let record = |(path, fine): &(&str, bool)| {
        let outcome = if *fine { json!({ "succeeded": { "output": 1 } }) } else { json!({ "failed": {} }) };
        json!({ "path": path, "outcome": outcome })
    };
    let entry = |record| HistoryEntry { seq: 1, at: Timestamp(0), event: "report".into(), record };
    reports.iter().map(record).map(entry).collect()
}

fn keep(name: &str, picture: &str) {
    if let Some(folder) = std::env::var_os("STEPMILL_PICTURES") {
        std::fs::write(std::path::Path::new(&folder).join(name), picture).unwrap();
    }
}

fn half_way(plan: &Plan) -> Marks {
    let reports = history(&[
        ("/do/2/charge/try/0/pay", false),
        ("/do/2/charge/try/0/pay", true),
        ("/do/3/ship/fork/branches/0/pack/do/0/pick", true),
        ("/do/3/ship/fork/branches/0/pack/do/0/pick", true),
    ]);
    let live = json!([
        { "path": "/do/3/ship/fork/branches/0/pack/do/0/pick", "waits_for": "report" },
        { "path": "/do/3/ship/fork/branches/1/label", "waits_for": "retry" },
    ]);
    Marks::of_run(plan, &view(RunState::Running, &live, None), &reports)
}

#[test]
fn a_definition_is_drawn() {
    let plan = plan(ORDER);
    let picture = svg(&plan, &Marks::none());
    keep("orders.svg", &picture);
    insta::assert_snapshot!("orders_svg", picture);
    insta::assert_snapshot!("orders_mermaid", mermaid(&plan, &Marks::none()));
}

#[test]
fn a_run_is_drawn_on_it() {
    let plan = plan(ORDER);
    let marks = half_way(&plan);
    let picture = svg(&plan, &marks);
    keep("run.svg", &picture);
    insta::assert_snapshot!("run_svg", picture);
    insta::assert_snapshot!("run_mermaid", mermaid(&plan, &marks));
}

#[test]
fn what_must_have_been_passed_is_done() {
    let plan = plan(ORDER);
    let marks = half_way(&plan);
    let state = |path: &str| marks.get(path).map(|m| m.state);
    assert_eq!(state("/do/0/check"), Some(State::Done), "everything begins there");
    assert_eq!(state("/do/1/approve"), None, "it may have been skipped");
    assert_eq!(state("/do/2/charge"), Some(State::Done), "the run is in another task of the list");
    assert_eq!(state("/do/3/ship"), Some(State::Active));
    assert_eq!(state("/do/3/ship/fork/branches/1/label"), Some(State::Waiting));
    let pick = marks.get("/do/3/ship/fork/branches/0/pack/do/0/pick").unwrap();
    assert_eq!((pick.state, pick.times), (State::Active, 2));
    assert_eq!((state("/do/4/done"), state("/do/5/refuse")), (None, None));

    let error = json!({ "type": "x", "status": 400, "title": "Nothing to ship", "instance": "/do/5/refuse" });
    let marks = Marks::of_run(&plan, &view(RunState::Faulted, &json!([]), Some(error)), &[]);
    let state = |path: &str| marks.get(path).map(|m| m.state);
    assert_eq!((state("/do/5/refuse"), state("/do/0/check")), (Some(State::Failed), Some(State::Done)));
    assert_eq!(state("/do"), Some(State::Failed));

    let plain = self::plan(
        "do: [ { a: { set: { x: 1 } } }, { b: { do: [ { c: { wait: PT1S } } ] } }, { d: { if: .x, set: { y: 1 } } } ]",
    );
    let marks = Marks::of_run(&plain, &view(RunState::Completed, &json!([]), None), &[]);
    let state = |path: &str| marks.get(path).map(|m| m.state);
    let done = Some(State::Done);
    assert_eq!(
        [state("/do/0/a"), state("/do/1/b"), state("/do/1/b/do/0/c"), state("/do/2/d")],
        [done, done, done, None]
    );
}

#[test]
fn every_kind_of_task_and_odd_text_is_drawn() {
    let source = include_str!("whole.yaml");
    let plan = compile(source).unwrap().plan;
    let picture = svg(&plan, &Marks::none());
    keep("whole.svg", &picture);
    for node in plan.nodes.iter().filter(|n| n.definition != Value::Null) {
        let name = format!("<title>{}</title>", node.path.0.replace('&', "&amp;"));
        assert!(picture.contains(&name), "{} is not drawn", node.path);
    }
    let text = mermaid(&plan, &Marks::none());
    for node in plan.nodes.iter().filter(|n| n.definition != Value::Null) {
        assert!(
            text.contains(&format!("n{}[", node.id.0)) || text.contains(&format!(" n{}", node.id.0)),
            "{}",
            node.path
        );
    }
    let odd = self::plan(
        "do: [ { 'a <b> & \"c\" #`': { set: { x: 1 } } }, { long: { set: { a: 1 }, if: '.x == \"<a very long condition that goes on and on and on>\"' } } ]",
    );
    let (picture, text) = (svg(&odd, &Marks::none()), mermaid(&odd, &Marks::none()));
    keep("odd.svg", &picture);
    assert!(picture.contains("a &lt;b&gt; &amp; &quot;c&quot; #`"), "{picture}");
    assert!(text.contains("\"a #lt;b#gt; #amp; #quot;c#quot; #35;#96;<br/>set x\""), "{text}");
}

#[test]
fn the_workflows_that_we_ship_are_drawn() {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for example in std::fs::read_dir(root).unwrap() {
        let folder = example.unwrap().path();
        let Ok(source) = std::fs::read_to_string(folder.join("workflow.yaml")) else { continue };
        let plan = compile(&source).unwrap().plan;
        let picture = svg(&plan, &Marks::none());
        keep(&format!("{}.svg", folder.file_name().unwrap().to_string_lossy()), &picture);
        assert!(picture.ends_with("</svg>\n") && mermaid(&plan, &Marks::none()).contains("flowchart TD"));
    }
}
