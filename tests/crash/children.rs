//! Everything is killed at once, both servers included, while runs wait for runs that they have started, have let them go, or are being
//! cancelled with them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const EACH: usize = 8;
const LONG: Duration = Duration::from_secs(60);

const CHILD: &str = "\
document: { dsl: '1.0.3', namespace: default, name: child, version: '1.0.0' }
do:
  - slow: { call: sleep, with: { ms: 2000 } }
  - say: { set: '${ { n: $workflow.input.n } }' }
";

const ENDLESS: &str = "\
document: { dsl: '1.0.3', namespace: default, name: endless, version: '1.0.0' }
do: [ { slow: { call: sleep, with: { ms: 600000 } } } ]
";

fn parent(name: &str, child: &str, rest: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: default, name: {name}, version: '1.0.0' }}
do:
  - start:
      run:
        workflow: {{ namespace: default, name: {child}, version: '1.0.0', input: {{ n: '${{ .n }}' }} }}
{rest}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_and_children_go_on_after_everything_was_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, slots: 64, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    for source in [
        CHILD.to_owned(),
        ENDLESS.to_owned(),
        parent("waits", "child", "  - more: { set: '${ { got: .n } }' }\n"),
        parent("lets-go", "child", "        await: false\n  - slow: { call: sleep, with: { ms: 2000 } }\n"),
        parent("is-ended", "endless", ""),
    ] {
        client.define(&source).await;
    }
    let mut runs = Vec::new();
    for workflow in ["waits", "lets-go", "is-ended"] {
        for n in 0..EACH {
            let run = client.submit(workflow, &format!("{workflow}-{n}"), &json!({ "n": n })).await;
            runs.push((workflow, n, run));
        }
    }
    until(&client, "all children run", async || {
        count(&client, "child", "running").await == 2 * EACH && count(&client, "endless", "running").await == EACH
    })
    .await;
    // The cancel is committed; whether it has reached the children when everything dies is left to chance.
    for (_, _, run) in runs.iter().filter(|(workflow, ..)| *workflow == "is-ended") {
        client.insist("cancel", &json!({ "run": run })).await;
    }
    kill_everything(&mut cluster);
    let client = cluster.client().await;
    for (workflow, n, run) in &runs {
        let view = client.result(run, LONG).await;
        match *workflow {
            "waits" => {
                assert_eq!((&view["state"], &view["output"]), (&json!("completed"), &json!({ "got": n })), "{view}")
            }
            "lets-go" => assert_eq!(view["state"], "completed", "{view}"),
            _ => assert_eq!(view["state"], "cancelled", "{view}"),
        }
    }
    until(&client, "each child has its end", async || {
        count(&client, "child", "completed").await == 2 * EACH && count(&client, "endless", "cancelled").await == EACH
    })
    .await;
    // None was started twice.
    assert_eq!(all(&client, "child").await.len(), 2 * EACH, "{}", cluster.logs());
    assert_eq!(all(&client, "endless").await.len(), EACH, "{}", cluster.logs());
}

/// SIGKILL to every process and both servers, and all of them again.
pub(crate) fn kill_everything(cluster: &mut Cluster) {
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
}

/// Every run of a workflow.
pub(crate) async fn all(client: &JsonClient, workflow: &str) -> Vec<Value> {
    let page = client.insist("list", &json!({ "workflow": workflow, "limit": 500 })).await;
    page["runs"].as_array().cloned().unwrap_or_default()
}

async fn count(client: &JsonClient, workflow: &str, state: &str) -> usize {
    all(client, workflow).await.iter().filter(|run| run["state"] == state).count()
}

/// Looks again and again until it is so.
pub(crate) async fn until(client: &JsonClient, what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so().await {
        assert!(
            Instant::now() < deadline,
            "it has not come to pass: {what}: {:?}",
            client.insist("list", &json!({})).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
