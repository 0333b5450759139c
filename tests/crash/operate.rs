//! Everything is killed at once, both servers included, in the middle of each act of an operator: the act is done once, and the run
//! goes on as the act says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

/// Steps that no worker serves: they wait for whoever acts.
const WAITS: &str = "\
document: { dsl: '1.0.3', namespace: default, name: waits, version: '1.0.0' }
do:
  - a: { call: nobody, metadata: { pool: empty } }
  - b: { set: { done: true } }
";
const FAILS: &str = "\
document: { dsl: '1.0.3', namespace: default, name: fails, version: '1.0.0' }
do:
  - a: { call: nobody, metadata: { pool: empty }, timeout: { after: { milliseconds: 100 } } }
  - b: { set: { done: true } }
";

/// An act on a run, and what the run is afterwards.
struct Case {
    verb: &'static str,
    workflow: &'static str,
    /// The state in which the act finds the run.
    found: &'static str,
    /// What belongs to the act besides run and why.
    more: Value,
    /// The state after the act, and whether the run is paused then.
    left: &'static str,
    paused: bool,
}

fn cases() -> Vec<Case> {
    let case = |verb, workflow, found, more, left| Case { verb, workflow, found, more, left, paused: verb == "pause" };
    let step = json!({ "step": "/do/0/a" });
    let with_output = json!({ "step": "/do/0/a", "output": 1 });
    vec![
        case("terminate", "waits", "running", json!({}), "cancelled"),
        case("pause", "waits", "running", json!({}), "running"),
        case("resume", "waits", "running", json!({}), "running"),
        case("rerun", "fails", "faulted", step.clone(), "faulted"),
        case("skip", "waits", "running", step, "completed"),
        case("set", "waits", "running", with_output.clone(), "completed"),
        case("set", "fails", "faulted", with_output, "completed"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_act_is_done_once_though_everything_is_killed_in_its_middle() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 1, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    for source in [WAITS, FAILS] {
        client.define(source).await;
    }
    let mut acts = Vec::new();
    for (n, case) in cases().into_iter().enumerate() {
        let run = client.submit(case.workflow, &format!("{}-{n}", case.verb), &json!({})).await;
        if case.verb == "resume" {
            client.insist("pause", &json!({ "run": run })).await;
        }
        until(&client, &run, |view| view["state"] == case.found).await;
        let mut body = case.more.clone();
        body["run"] = json!(run);
        body["why"] = json!({ "by": "ann", "reason": "a test", "id": uuid::Uuid::new_v4() });
        acts.push((case, run, body));
    }
    // All are on their way when everything dies.
    let asked: Vec<_> = acts
        .iter()
        .map(|(case, _, body)| {
            let (client, verb, body) = (client.clone(), case.verb, body.clone());
            tokio::spawn(async move { client.request(verb, &body, Duration::from_millis(500)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(3)).await;
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
    let mut answered = 0;
    for one in asked {
        answered += usize::from(one.await.unwrap().is_ok());
    }
    let client = cluster.client().await;
    for (case, run, body) in &acts {
        // Asked for again with the same id: whether the first one got through or not, it is done once.
        let answer = client.insist(case.verb, body).await;
        assert!(answer["applied"].is_boolean(), "{}: {answer}", case.verb);
        let view = until(&client, run, |view| view["state"] == case.left).await;
        assert_eq!(view["paused"].is_object(), case.paused, "{}: {view}", case.verb);
        let name = if case.verb == "resume" { "unpause" } else { case.verb };
        let done = view["acts"].as_array().unwrap().iter().filter(|act| act["act"] == name).count();
        assert_eq!(done, 1, "{}: {view}", case.verb);
    }
    println!("{answered} of {} acts were answered before the end", acts.len());
}

async fn until(client: &JsonClient, run: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut view = client.insist("get", &json!({ "run": run })).await;
    while !is_so(&view) {
        assert!(Instant::now() < deadline, "it has not come to pass: {view}");
        let request = json!({ "run": run, "after_rev": view["rev"], "wait_ms": 1_000 });
        view = client.insist("get", &request).await;
    }
    view
}
