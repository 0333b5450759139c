//! Everything is killed at once while a run undoes what it has done: it goes on with the step that it was at, under the same key,
//! and undoes each step once, the last one first.

use std::time::{Duration, Instant};

use serde_json::json;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

use crate::check::traces;

const DEFINITION: &str = "
document: { dsl: '1.0.3', namespace: default, name: trip, version: '1.0.0' }
use:
  functions:
    undo: { call: random, with: { ms: 1000 } }
do:
  - flight: { call: random, with: {}, metadata: { compensate: undo } }
  - hotel: { call: random, with: {}, metadata: { compensate: undo } }
  - car: { call: random, with: {}, metadata: { compensate: undo } }
  - full: { raise: { error: { type: 'https://example.com/errors/full', status: 409, title: Full } } }
";

/// Places of what undoes a step, as keys hold them.
const UNDOES: &str = "/metadata/compensate/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_undoing_after_everything_was_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(DEFINITION).await;
    let run = client.submit("trip", "only", &json!({})).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let second = || traces(&cluster.side_file()).iter().any(|t| t.key.contains(&format!("/do/1/hotel{UNDOES}")));
    while !(cluster.side_file().exists() && second()) {
        assert!(Instant::now() < deadline, "the second step is not being undone:\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
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
    let view = client.result(&run, Duration::from_secs(60)).await;
    assert_eq!((&view["state"], &view["error"]["status"]), (&json!("faulted"), &json!(409)), "{view}");
    let mut undone: Vec<String> = traces(&cluster.side_file()).into_iter().map(|t| t.key).collect();
    undone.retain(|key| key.contains(UNDOES));
    // A step that was under way ran again, with the same key.
    undone.dedup();
    let places: Vec<&str> = undone
        .iter()
        .map(|key| ["flight", "hotel", "car"].into_iter().find(|name| key.contains(name)).unwrap())
        .collect();
    assert_eq!(places, ["car", "hotel", "flight"], "{undone:?}");
}
