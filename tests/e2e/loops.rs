//! A long loop: what is stored of the run stays small, and so does the coordinator.

use std::time::{Duration, Instant};

use serde_json::json;
use stepmill_coordinator::port::store::Store;
use stepmill_coordinator::store::redis::{RedisOptions, RedisStore};
use stepmill_protocol::RunId;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const LOOP: &str = "\
document: { dsl: '1.0.3', namespace: default, name: long, version: '1.0.0' }
do:
  - count:
      for: { in: '${ [range(100000)] }' }
      do:
        - next: { set: { n: '${ $index }' } }
";
const STATE_BYTES_MAX: usize = 4 * 1024;
const GROWTH_KB_MAX: u64 = 48 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_iterations_leave_nothing_behind() {
    let cluster = Cluster::start(ClusterSetup { coordinators: 1, workers: 0, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(LOOP).await;
    let store = RedisStore::connect(&cluster.redis.url(), RedisOptions::default()).await.unwrap();
    let run = client.submit("long", "one", &json!(null)).await;
    let id: RunId = run.parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(240);
    let (mut looks, mut largest, mut memory) = (0, 0, Vec::new());
    loop {
        let stored = store.load(id.partition(8), &[id]).await.unwrap();
        if let Some(stored) = stored.into_iter().next().flatten() {
            let bytes = stored.control.len() + stored.values.iter().map(|(_, v)| v.len()).sum::<usize>();
            largest = largest.max(bytes);
            looks += 1;
        }
        memory.extend(cluster.resident_kb(0));
        let view = client.insist("result", &json!({"run": run, "wait_ms": 50})).await;
        if view["state"] != "running" {
            assert_eq!(view["state"], "completed", "{view}");
            assert_eq!(view["output"], json!({"n": 99_999}), "{view}");
            break;
        }
        assert!(Instant::now() < deadline, "the loop has not ended: {view}");
    }
    println!("{looks} looks, at most {largest} bytes stored");
    assert!(looks > 10, "only {looks} looks while it ran");
    assert!(largest <= STATE_BYTES_MAX, "{largest} bytes were stored of the run");
    // The first tenth sets the level: the list of items is in memory, what has been done is not.
    let level = memory.iter().take(memory.len() / 10 + 1).max().copied().unwrap_or(0);
    let end = memory.last().copied().unwrap_or(0);
    assert!(end <= level + GROWTH_KB_MAX, "the coordinator grew from {level} to {end} kB");
}
