//! Coordinators are killed again and again while runs are under way: every life-cycle event is heard at least once, under the id that
//! the log gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::Namespace;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const RUNS: usize = 200;
const ROUNDS: usize = 4;
const LONG: Duration = Duration::from_secs(60);

const FLOW: &str = "\
document: { dsl: '1.0.3', namespace: default, name: told, version: '1.0.0' }
do:
  - each:
      for: { each: n, in: '${ [range(6)] }' }
      do: [ { nap: { call: sleep, with: { ms: 100 } } } ]
  - guarded:
      try: [ { fail: { raise: { error: { type: 'https://example.com/errors/no', status: 400, title: No } } } } ]
      catch: { do: [ { mend: { set: { mended: true } } } ] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_missing_when_coordinators_are_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, slots: 64, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    let nats = cluster.connect().await;
    let mut hearer = nats.hear(&Namespace::new("default").unwrap(), None, None).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut heard: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut ended = BTreeSet::new();
        while ended.len() < RUNS {
            let message = tokio::time::timeout(LONG, hearer.next()).await.expect("events go on").unwrap();
            let event: Value = serde_json::from_slice(&message.body).unwrap();
            if event["type"] == "io.serverlessworkflow.workflow.completed.v1" {
                ended.insert(message.run);
            }
            heard.entry(message.run.to_string()).or_default().push(event);
        }
        heard
    });
    client.define(FLOW).await;
    let mut runs = Vec::new();
    for n in 0..RUNS {
        runs.push(client.submit("told", &format!("told-{n}"), &json!({})).await);
        if n % (RUNS / ROUNDS) == RUNS / ROUNDS - 1 {
            for place in 0..2 {
                cluster.kill(place).unwrap();
            }
            for place in 0..2 {
                cluster.revive(place).unwrap();
            }
        }
    }
    for run in &runs {
        let view = client.result(run, LONG).await;
        assert_eq!(view["state"], "completed", "{view}");
    }
    let mut heard = heard.await.unwrap();
    let (mut events, mut again) = (0, 0);
    for run in &runs {
        let mut of_log = Vec::new();
        loop {
            let after = of_log.last().map_or(Value::Null, |event: &Value| event["sequence"].clone());
            let page = client.insist("life", &json!({ "run": run, "after": after })).await;
            match page["events"].as_array() {
                Some(page) if !page.is_empty() => of_log.extend(page.iter().cloned()),
                _ => break,
            }
        }
        let heard = heard.remove(run).unwrap_or_default();
        let mut once: Vec<Value> = Vec::new();
        for event in &heard {
            if !once.contains(event) {
                once.push(event.clone());
            }
        }
        once.sort_by_key(|event| event["sequence"].to_string());
        assert_eq!(once, of_log, "run {run}\n{}", cluster.logs());
        events += of_log.len();
        again += heard.len() - once.len();
    }
    assert!(events >= RUNS * 30, "{events}");
    println!("{events} events of {RUNS} runs, {again} of them told again");
}
