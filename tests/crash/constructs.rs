//! Everything is killed at once, both servers included, while one run of each construct of the language is in its middle: each
//! goes on where it was and ends as it would have.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

/// A construct in its middle: a step or a wait of two seconds.
struct Case {
    name: &'static str,
    tasks: &'static str,
    state: &'static str,
    /// The output, or the type and status of the error.
    gives: Value,
}

fn completed(name: &'static str, tasks: &'static str, gives: Value) -> Case {
    Case { name, tasks, state: "completed", gives }
}

fn cases() -> Vec<Case> {
    vec![
        completed(
            "list",
            "
do:
  - first: { set: { a: 1 } }
  - slow: { call: sleep, with: { ms: 2000 }, output: { as: '${ { a: 2 } }' } }
  - last: { set: '${ { a: (.a + 1) } }' }
",
            json!({ "a": 3 }),
        ),
        completed(
            "context",
            "
do:
  - keep: { set: { kept: 7 }, export: { as: '${ . }' } }
  - slow: { call: sleep, with: { ms: 2000 } }
  - take: { set: '${ { kept: $context.kept } }' }
",
            json!({ "kept": 7 }),
        ),
        completed(
            "switch",
            "
do:
  - slow: { call: sleep, with: { ms: 2000 }, output: { as: '${ { kind: \"b\" } }' } }
  - choose: { switch: [{ a: { when: '${ .kind == \"a\" }', then: one } }, { other: { then: two } }] }
  - one: { set: { way: one }, then: end }
  - two: { set: { way: two } }
",
            json!({ "way": "two" }),
        ),
        completed(
            "loop",
            "
do:
  - each:
      for: { each: n, in: '${ [1, 2, 3, 4] }' }
      do:
        - slow: { call: sleep, with: { ms: 500 }, input: { from: '${ . }' }, output: { as: '${ ($input.sum // 0) + $n | { sum: . } }' } }
",
            json!({ "sum": 10 }),
        ),
        completed(
            "loop-side-by-side",
            "
do:
  - each:
      for: { each: n, in: '${ [range(12)] }' }
      metadata: { concurrency: 4 }
      do:
        - slow: { call: sleep, with: { ms: 700 }, output: { as: '${ $n * 2 }' } }
",
            json!([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]),
        ),
        completed(
            "fork",
            "
do:
  - both:
      fork:
        branches:
          - quick: { set: { a: 1 } }
          - slow: { call: sleep, with: { ms: 2000 }, output: { as: '${ { b: 2 } }' } }
",
            json!([{ "a": 1 }, { "b": 2 }]),
        ),
        completed(
            "emit",
            "
do:
  - both:
      fork:
        branches:
          - ear:
              listen: { to: { any: [{ with: { type: crash.told } }], until: 'length == 40' } }
              output: { as: '${ unique | length }' }
          - mouth:
              for: { each: n, in: '${ [range(40)] }' }
              do:
                - tell: { emit: { event: { with: { type: crash.told, data: '${ $n }' } } } }
                - slow: { call: sleep, with: { ms: 50 } }
      output: { as: '${ { heard: .[0] } }' }
",
            json!({ "heard": 40 }),
        ),
        completed(
            "extension",
            "
use:
  extensions:
    - count: { extend: call, after: [{ count: { set: '${ 1 }', export: { as: '${ { n: (($context.n // 0) + 1) } }' } } }] }
do:
  - one: { call: sleep, with: { ms: 1000 } }
  - two: { call: sleep, with: { ms: 1000 } }
  - three: { set: '${ { counted: $context.n } }' }
",
            json!({ "counted": 2 }),
        ),
        completed(
            "race",
            "
do:
  - race:
      fork:
        compete: true
        branches:
          - slow: { call: sleep, with: { ms: 60000 }, output: { as: '${ \"slow\" }' } }
          - quick: { call: sleep, with: { ms: 2000 }, output: { as: '${ \"quick\" }' } }
",
            json!("quick"),
        ),
        completed(
            "retry",
            "
do:
  - again:
      try:
        - fail: { raise: { error: { type: 'https://example.com/errors/busy', status: 503, title: Busy } } }
      catch:
        as: problem
        retry: { delay: { milliseconds: 900 }, backoff: { constant: {} }, limit: { attempt: { count: 3 } } }
        do:
          - say: { set: '${ { caught: $problem.status } }' }
",
            json!({ "caught": 503 }),
        ),
        completed(
            "catch",
            "
do:
  - guarded:
      try:
        - fail: { raise: { error: { type: 'https://example.com/errors/gone', status: 410, title: Gone } } }
      catch:
        as: problem
        do:
          - slow: { call: sleep, with: { ms: 2000 } }
          - say: { set: '${ { caught: $problem.status } }' }
",
            json!({ "caught": 410 }),
        ),
        completed(
            "wait",
            "
do:
  - pause: { wait: { milliseconds: 2000 } }
  - after: { set: { waited: true } }
",
            json!({ "waited": true }),
        ),
        completed(
            "timeout",
            "
do:
  - limited:
      try:
        - slow: { call: sleep, with: { ms: 60000 }, timeout: { after: { milliseconds: 2500 } } }
      catch:
        errors: { with: { status: 408 } }
        do:
          - say: { set: { late: true } }
",
            json!({ "late": true }),
        ),
        completed(
            "function",
            "
use:
  functions:
    nap: { call: sleep, with: { ms: '${ .ms }' }, output: { as: '${ { rested: true } }' } }
do:
  - call: { call: nap, with: { ms: 2000 } }
",
            json!({ "rested": true }),
        ),
        Case {
            name: "raise",
            tasks: "
do:
  - slow: { call: sleep, with: { ms: 2000 } }
  - fail: { raise: { error: { type: 'https://example.com/errors/no', status: 409, title: No } } }
",
            state: "faulted",
            gives: json!({ "type": "https://example.com/errors/no", "status": 409 }),
        },
        Case {
            name: "time-of-the-workflow",
            tasks: "
timeout: { after: { milliseconds: 2500 } }
do:
  - slow: { call: sleep, with: { ms: 60000 } }
",
            state: "faulted",
            gives: json!({ "type": "https://serverlessworkflow.io/spec/1.0.0/errors/timeout", "status": 408 }),
        },
    ]
}

impl Case {
    fn source(&self) -> String {
        let name = self.name;
        format!(
            "document: {{ dsl: '1.0.3', namespace: default, name: {name}, version: '1.0.0' }}\n{}",
            self.tasks.trim_start()
        )
    }

    fn judge(&self, view: &Value) {
        let name = self.name;
        assert_eq!(view["state"], self.state, "{name}: {view}");
        let got = match self.state {
            "completed" => view["output"].clone(),
            _ => json!({ "type": view["error"]["type"], "status": view["error"]["status"] }),
        };
        assert_eq!(got, self.gives, "{name}: {view}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_construct_goes_on_after_everything_was_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, slots: 64, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    let cases = cases();
    for case in &cases {
        client.define(&case.source()).await;
    }
    let mut runs = Vec::new();
    for case in &cases {
        runs.push(client.submit(case.name, "only", &json!({})).await);
    }
    for (case, run) in cases.iter().zip(&runs) {
        in_its_middle(&client, case.name, run).await;
    }
    for place in 0..cluster.processes.len() {
        cluster.kill(place).unwrap();
    }
    cluster.nats.kill().unwrap();
    cluster.redis.kill().unwrap();
    cluster.redis.restart().unwrap();
    cluster.nats.restart().unwrap();
    for place in 0..cluster.processes.len() {
        cluster.revive(place).unwrap();
    }
    let client = cluster.client().await;
    for (case, run) in cases.iter().zip(&runs) {
        case.judge(&client.result(run, Duration::from_secs(60)).await);
    }
}

/// Waits until the run is at something that takes its time.
async fn in_its_middle(client: &JsonClient, name: &str, run: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let view = client.insist("get", &json!({ "run": run })).await;
        assert_eq!(view["state"], "running", "{name} was over before anything was killed: {view}");
        if view["live"].as_array().is_some_and(|live| !live.is_empty()) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} does not come to its middle: {view}");
    }
}
