//! How long it takes until somebody else goes on.

use std::time::{Duration, Instant};

use serde_json::json;
use stepmill_protocol::{Namespace, RunId, WorkflowName};
use stepmill_tests::cluster::{Cluster, ClusterSetup, Role};

use crate::check;

const ONE: &str = "\
document: { dsl: '1.0.3', namespace: default, name: one, version: '1.0.0' }
do:
  - only: { call: random, with: { ms: 1500 } }
";

/// A coordinator dies: every partition accepts new runs again within three seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_is_replaced_within_three_seconds() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 1, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(ONE).await;
    let mut worst = Duration::ZERO;
    for round in 0..4 {
        // Both own their share: every partition answers.
        for key in keys(&format!("warm{round}")) {
            client.submit("one", &key, &json!({})).await;
        }
        let victim = round % 2;
        cluster.kill(victim).unwrap();
        let killed = Instant::now();
        for key in keys(&format!("cold{round}")) {
            client.submit("one", &key, &json!({})).await;
        }
        let took = killed.elapsed();
        println!("coordinator takeover: {} ms", took.as_millis());
        worst = worst.max(took);
        cluster.revive(victim).unwrap();
    }
    assert!(worst <= Duration::from_secs(3), "a takeover took {worst:?}\n{}", cluster.logs());
}

/// One key for each of the eight partitions.
fn keys(label: &str) -> Vec<String> {
    let namespace = Namespace::new("default").unwrap();
    let workflow = WorkflowName::new("one").unwrap();
    let mut found = vec![None; 8];
    for n in 0.. {
        let key = format!("{label}-{n}");
        let partition = RunId::derived(&namespace, &workflow, &key).partition(8);
        found[usize::from(partition.0)].get_or_insert(key);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.into_iter().flatten().collect()
}

/// A worker dies in the middle of a step: another one begins it again within five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_replaced_within_five_seconds() {
    let setup = ClusterSetup { coordinators: 1, workers: 1, slots: 1, ..ClusterSetup::default() };
    let mut cluster = Cluster::start(setup).unwrap();
    let client = cluster.client().await;
    client.define(ONE).await;
    let mut worst = Duration::ZERO;
    let mut alive = 1;
    for round in 0..3 {
        let run = client.submit("one", &format!("w{round}"), &json!({})).await;
        let begun = |cluster: &Cluster| {
            std::fs::metadata(cluster.side_file())
                .map(|_| check::traces(&cluster.side_file()))
                .unwrap_or_default()
                .iter()
                .filter(|t| t.key.starts_with(&run))
                .count()
        };
        until(|| begun(&cluster) == 1, Duration::from_secs(20)).await;
        let heir = cluster.add(Role::Worker).unwrap();
        cluster.kill(alive).unwrap();
        let killed = Instant::now();
        until(|| begun(&cluster) == 2, Duration::from_secs(20)).await;
        let took = killed.elapsed();
        println!("worker takeover: {} ms", took.as_millis());
        worst = worst.max(took);
        alive = heir;
        let view = client.result(&run, Duration::from_secs(30)).await;
        assert_eq!(view["state"], "completed", "{view}");
    }
    assert!(worst <= Duration::from_secs(5), "a takeover took {worst:?}\n{}", cluster.logs());
}

/// Looks until it is so.
async fn until(mut is_so: impl FnMut() -> bool, within: Duration) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to pass within {within:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
