//! Everything is killed at once, both servers included, while workflows start by themselves.

use std::time::{Duration, Instant};

use serde_json::Value;
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

use super::children::{all, kill_everything, until};

const ROUNDS: usize = 3;
/// Name and schedule.
const KINDS: [(&str, &str); 3] = [
    ("every", "every: { milliseconds: 400 }"),
    ("cron", "cron: '* * * * * *'"),
    ("after", "after: { milliseconds: 300 }"),
];

fn source(name: &str, schedule: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: default, name: {name}, version: '1.0.0' }}
schedule: {{ {schedule} }}
do: [ {{ short: {{ call: sleep, with: {{ ms: 50 }} }} }} ]
"
    )
}

/// Each goes on after every kill, by one keeper alone; no time gives two runs, and a run that follows another waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_go_on_after_everything_was_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 2, ..ClusterSetup::default() }).unwrap();
    let began = Instant::now();
    let mut client = cluster.client().await;
    for (name, schedule) in KINDS {
        client.define(&source(name, schedule)).await;
    }
    for _ in 0..ROUNDS {
        let before = lengths(&client).await;
        until(&client, "each starts twice more", async || {
            lengths(&client).await.iter().zip(&before).all(|(now, before)| *now >= before + 2)
        })
        .await;
        kill_everything(&mut cluster);
        client = cluster.client().await;
    }
    let before = lengths(&client).await;
    until(&client, "each goes on after the last kill", async || {
        lengths(&client).await.iter().zip(&before).all(|(now, before)| *now >= before + 3)
    })
    .await;
    for (name, _) in KINDS {
        let keepers = all(&client, &format!("{name}_schedule")).await;
        assert_eq!(keepers.len(), 1, "{name}: {keepers:?}");
        assert_eq!(keepers[0]["state"], "running", "{name}: {keepers:?}");
    }
    let passed = began.elapsed();
    for (name, interval) in [("every", Duration::from_millis(400)), ("cron", Duration::from_secs(1))] {
        let (runs, times) = (all(&client, name).await, passed.as_millis() / interval.as_millis());
        // One at the beginning, and one that the looking itself took time for.
        assert!(runs.len() as u128 <= times + 2, "{name} has {} runs in {times} intervals", runs.len());
    }
    let mut chain = all(&client, "after").await;
    chain.sort_by_key(|run| run["submitted_at"].as_u64());
    for pair in chain.windows(2) {
        let (ended, next) = (pair[0]["ended_at"].as_u64(), pair[1]["submitted_at"].as_u64());
        assert!(ended.is_some() && ended <= next, "one began before the other had ended: {} {}", pair[0], pair[1]);
    }
}

async fn lengths(client: &JsonClient) -> Vec<usize> {
    let mut lengths = Vec::new();
    for (name, _) in KINDS {
        let runs: Vec<Value> = all(client, name).await;
        lengths.push(runs.len());
    }
    lengths
}
