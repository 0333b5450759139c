//! SIGTERM under load: what runs is finished, the rest is handed over, nothing fails and nothing is done twice.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const WORK: &str = "\
document: { dsl: '1.0.3', namespace: default, name: work, version: '1.0.0' }
do:
  - one: { call: random, with: { ms: 100 } }
  - two: { call: random, with: { ms: 100 } }
  - three: { call: random, with: { ms: 100 } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_asked_to_stop_hand_over() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, slots: 16, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(WORK).await;
    let submitting = client.clone();
    let submitted = tokio::spawn(async move {
        let one = |n: usize| {
            let client = submitting.clone();
            async move { client.submit("work", &format!("d{n}"), &json!({})).await }
        };
        futures::stream::iter(0..120).map(one).buffered(20).collect::<Vec<_>>().await
    });
    for place in [0, 2, 1, 3] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.terminate(place).unwrap_or_else(|e| panic!("{e}\n{}", cluster.logs()));
        cluster.revive(place).unwrap();
    }
    for run in submitted.await.unwrap() {
        let view = client.result(&run, Duration::from_secs(60)).await;
        assert_eq!(view["state"], "completed", "{view}\n{}", cluster.logs());
        assert_eq!(view["attempts_failed"], 0, "{view}");
    }
    let text = std::fs::read_to_string(cluster.side_file()).unwrap();
    let mut keys: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].to_string()).collect();
    keys.sort();
    let begun = keys.len();
    keys.dedup();
    assert_eq!((begun, keys.len()), (360, 360), "a step began twice, or not at all");
}
