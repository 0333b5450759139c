//! The API from outside: one key, one run; jobs by publishing; lists, cancel, signals; what is wrong is said.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const ECHO: &str = "\
document: { dsl: '1.0.3', namespace: default, name: echo, version: '1.0.0' }
do:
  - back: { call: noop }
";
const WAITS: &str = "\
document: { dsl: '1.0.3', namespace: default, name: waits, version: '1.0.0' }
do:
  - long: { wait: { hours: 1 } }
";

async fn start() -> (Cluster, JsonClient) {
    let cluster = Cluster::start(ClusterSetup { workers: 1, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(ECHO).await;
    client.define(WAITS).await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_submissions_of_one_key_are_one_run() {
    let (cluster, _) = start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(cluster.client().await);
    }
    let all = (0..100).map(|n| {
        let client = clients[n % clients.len()].clone();
        async move { client.insist("submit", &json!({"workflow": "echo", "key": "same", "input": {"n": 1}})).await }
    });
    let answers = futures::future::join_all(all).await;
    let runs: BTreeSet<&str> = answers.iter().map(|a| a["run"].as_str().unwrap()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(answers.iter().filter(|a| a["created"] == true).count(), 1);
    let view = clients[0].result(runs.first().unwrap(), Duration::from_secs(30)).await;
    assert_eq!(view["output"], json!({"n": 1}), "{view}\n{}", cluster.logs());
    let listed = clients[1].insist("list", &json!({"workflow": "echo"})).await;
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1, "{listed}");
    let other = json!({"workflow": "echo", "key": "same", "input": {"n": 2}});
    let refused = clients[2].request("submit", &other, Duration::from_secs(10)).await.unwrap();
    assert_eq!(refused["status"], 409, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_job_becomes_one_run() {
    let (cluster, client) = start().await;
    let nats = cluster.connect().await;
    for n in 0..20 {
        nats.publish("sm.job.default.echo", json!({"n": n}).to_string().into_bytes()).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let listed = client.insist("list", &json!({"workflow": "echo", "state": "completed"})).await;
        let runs = listed["runs"].as_array().unwrap();
        if runs.len() == 20 {
            break;
        }
        assert!(Instant::now() < deadline, "{} of 20 jobs became runs\n{}", runs.len(), cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_listed_page_by_page_and_cancelled() {
    let (_cluster, client) = start().await;
    let mut started = BTreeSet::new();
    for n in 0..25 {
        started.insert(client.submit("waits", &format!("w{n}"), &Value::Null).await);
    }
    let mut listed = Vec::new();
    let mut question = json!({"state": "running", "limit": 10});
    loop {
        let page = client.insist("list", &question).await;
        listed.extend(page["runs"].as_array().unwrap().iter().map(|r| r["run"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => question["cursor"] = json!(next),
            None => break,
        }
    }
    assert_eq!(listed.len(), 25);
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), started);
    let run = &listed[0];
    let view = client.insist("get", &json!({"run": run})).await;
    assert_eq!(view["live"][0]["waits_for"], "time", "{view}");
    assert_eq!(view["live"][0]["path"], "/do/0/long", "{view}");
    let signalled = client.insist("signal", &json!({"run": run, "name": "hello", "data": 1})).await;
    assert_eq!(signalled["applied"], true, "{signalled}");
    let cancelled = client.insist("cancel", &json!({"run": run, "reason": "enough"})).await;
    assert_eq!(cancelled["applied"], true, "{cancelled}");
    let again = client.insist("cancel", &json!({"run": run})).await;
    assert_eq!(again["applied"], false, "{again}");
    let view = client.result(run, Duration::from_secs(10)).await;
    assert_eq!(view["state"], "cancelled", "{view}");
    let history = client.insist("history", &json!({"run": run})).await;
    let events: Vec<&str> =
        history["entries"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["submitted", "signal", "cancel", "cancel"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_stops_nobody() {
    let (cluster, client) = start().await;
    let within = Duration::from_secs(10);
    for (verb, body, status) in [
        ("submit", json!({"workflow": "nobody-knows-it"}), 404),
        ("submit", json!({"workflow": "echo", "inputs": {}}), 400),
        ("submit", json!({"workflow": "a.b"}), 400),
        ("submit", json!({"workflow": "echo", "input": "x".repeat(800_000)}), 413),
        ("define", json!({"source": "document: {}"}), 400),
        ("define", json!({"source": ECHO.replace("noop", "sleep")}), 409),
        ("get", json!({"run": "00000000-0000-0000-0000-000000000000"}), 404),
        ("list", json!({"cursor": "made up"}), 400),
        ("fly", json!({}), 404),
    ] {
        let answer = client.request(verb, &body, within).await.unwrap();
        assert_eq!(answer["status"], status, "{verb}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|d| d.len() > 20), "{verb}: {answer}");
    }
    // Garbage in the log, in every partition: it goes to the dead letters and the partitions go on.
    let nats = cluster.connect().await;
    for partition in 0..8 {
        nats.publish(&format!("sm.log.{partition}.{}.c", uuid::Uuid::new_v4()), b"garbage".to_vec()).await.unwrap();
        nats.publish(&format!("sm.log.{partition}.not-a-run.w.default"), b"garbage".to_vec()).await.unwrap();
    }
    for n in 0..16 {
        let run = client.submit("echo", &format!("after-{n}"), &json!(n)).await;
        let view = client.result(&run, Duration::from_secs(20)).await;
        assert_eq!(view["output"], n, "{view}\n{}", cluster.logs());
    }
}
