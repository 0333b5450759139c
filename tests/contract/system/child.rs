//! `run: workflow`.

use serde_json::json;
use stepmill_protocol::api::RunState;

use super::System;
use super::picky::PickyLog;

const DOUBLE: &str = "do: [{ double: { set: { n: '${ .n * 2 }' } } }]";
const LONG_WAIT: &str = "do: [{ long: { wait: { hours: 1 } } }]";

fn run(name: &str, more: &str) -> String {
    format!("run: {{ workflow: {{ namespace: default, name: {name}, version: latest{more} }} }}")
}

pub(super) async fn its_output_flows_on(system: System) {
    system.define("double", DOUBLE).await;
    let (first, second) = (run("double", ", input: { n: '${ .n }' }"), run("double", ""));
    system.define("parent", &format!("do: [{{ a: {{ {first} }} }}, {{ b: {{ {second} }} }}]")).await;
    assert_eq!(system.output("parent", json!({"n": 3})).await, json!({"n": 12}));
    let children = system.runs_of("double").await;
    assert_eq!(children.len(), 2);
    assert!(children.iter().all(|child| child.state == RunState::Completed), "{children:?}");
}

pub(super) async fn its_failure_can_be_caught(system: System) {
    let error = "{ type: 'https://example.com/no', status: 418, title: No }";
    system.define("fails", &format!("do: [{{ no: {{ raise: {{ error: {error} }} }} }}]")).await;
    let step = run("fails", "");
    system.define("uncaught", &format!("do: [{{ a: {{ {step} }} }}]")).await;
    let problem = system.error("uncaught").await;
    assert_eq!((problem.status, problem.instance.as_deref()), (418, Some("/do/0/a")), "{problem:?}");
    let catch = "catch: { errors: { with: { status: 418 } }, retry: { limit: { attempt: { count: 3 } } }, do: [{ over: { set: { caught: '${ $error.title }' } } }] }";
    system.define("caught", &format!("do: [{{ a: {{ try: [{{ b: {{ {step} }} }}], {catch} }} }}]")).await;
    assert_eq!(system.output("caught", json!({})).await, json!({"caught": "No"}));
    // One of `uncaught`, and one for each pass.
    assert_eq!(system.runs_of("fails").await.len(), 4);
}

pub(super) async fn an_unknown_workflow_is_said(system: System) {
    system.define("parent", &format!("do: [{{ a: {{ {} }} }}]", run("nobody", ""))).await;
    let problem = system.error("parent").await;
    assert_eq!(problem.status, 404);
    assert!(problem.kind.ends_with("/unknown-workflow") && problem.to_string().contains("`nobody`"), "{problem}");
}

pub(super) async fn a_cancel_goes_down_the_tree(system: System) {
    system.define("leaf", LONG_WAIT).await;
    system.define("middle", &format!("do: [{{ a: {{ {} }} }}]", run("leaf", ""))).await;
    system.define("top", &format!("do: [{{ a: {{ {} }} }}]", run("middle", ""))).await;
    let top = system.submit("top", json!({})).await;
    system.until_runs("leaf", |runs| runs.len() == 1).await;
    system.client.cancel(top, "enough").await.unwrap();
    for workflow in ["middle", "leaf"] {
        system.until_runs(workflow, |runs| runs.iter().all(|r| r.state == RunState::Cancelled)).await;
    }
}

pub(super) async fn a_timeout_ends_it(system: System) {
    system.define("leaf", LONG_WAIT).await;
    let step = run("leaf", "");
    system.define("top", &format!("do: [{{ a: {{ {step}, timeout: {{ after: {{ milliseconds: 300 }} }} }} }}]")).await;
    assert_eq!(system.error("top").await.status, 408);
    system.until_runs("leaf", |runs| runs.len() == 1 && runs[0].state == RunState::Cancelled).await;
}

pub(super) async fn one_that_nobody_waits_for_goes_on(system: System) {
    system.define("leaf", LONG_WAIT).await;
    let step = run("leaf", "").replacen("run: {", "run: { await: false,", 1);
    system.define("top", &format!("do: [{{ a: {{ {step} }} }}]")).await;
    assert_eq!(system.output("top", json!({"n": 1})).await, json!({"n": 1}));
    assert_eq!(system.runs_of("leaf").await[0].state, RunState::Running);
}

pub(super) async fn many_at_once_are_gathered(system: System) {
    system.define("double", DOUBLE).await;
    let step = run("double", ", input: { n: '${ $item }' }");
    let list = "for: { in: '${ [range(120)] }' }, metadata: { concurrency: 40 }";
    system.define("top", &format!("do: [{{ all: {{ {list}, do: [{{ a: {{ {step} }} }}] }} }}]")).await;
    let output = system.output("top", json!({})).await;
    let given: Vec<u64> = output.as_array().unwrap().iter().map(|v| v["n"].as_u64().unwrap()).collect();
    assert_eq!(given, (0..120).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(system.runs_of("double").await.len(), 120);
}

pub(super) async fn a_coordinator_that_is_replaced_goes_on(mut system: System) {
    let slow = "do: [{ pause: { wait: { milliseconds: 20 } } }, { double: { set: { n: '${ .n * 2 }' } } }]";
    system.define("slow", slow).await;
    let step = run("slow", ", input: { n: '${ $item }' }");
    let list = "for: { in: '${ [range(60)] }' }, metadata: { concurrency: 10 }";
    system.define("top", &format!("do: [{{ all: {{ {list}, do: [{{ a: {{ {step} }} }}] }} }}]")).await;
    let top = system.submit("top", json!({})).await;
    for some in [5, 20, 40] {
        system.until_runs("slow", |runs| runs.len() >= some).await;
        system.replace().await;
    }
    let view = system.result(top).await;
    let output = view.output.unwrap();
    let sum: u64 = output.as_array().unwrap().iter().map(|v| v["n"].as_u64().unwrap()).sum();
    assert_eq!(sum, (0..60).map(|n| n * 2).sum::<u64>());
    assert_eq!(system.runs_of("slow").await.len(), 60, "each starts once");
}

pub(super) async fn one_that_is_not_wanted_never_begins(mut system: System) {
    let picky = PickyLog::over(&mut system.ports);
    system.replace().await;
    system.define("leaf", "do: [{ a: { set: { n: 1 } } }]").await;
    system.define("top", &format!("do: [{{ a: {{ {} }} }}]", run("leaf", ""))).await;
    let top = system.submit("top", json!({})).await;
    // It is asked to start it, and does not know whether it has.
    picky.has_refused().await;
    system.client.cancel(top, "enough").await.unwrap();
    let leaf = system.until_runs("leaf", |runs| runs.len() == 1).await;
    assert_eq!((leaf[0].state, leaf[0].rev), (RunState::Cancelled, 1), "it has not begun: {leaf:?}");
}

pub(super) async fn one_that_starts_itself_comes_to_an_end(system: System) {
    system.define("again", &format!("do: [{{ a: {{ {} }} }}]", run("again", ""))).await;
    let problem = system.error("again").await;
    assert!(problem.to_string().contains("RUN_DEPTH_MAX"), "{problem}");
    assert_eq!(system.runs_of("again").await.len(), 33);
}
