//! Everything is killed while runs listen, and events come while nobody is there to take them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_nats::Nats;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const RUNS: usize = 60;

/// Two events of its own, in any order, then a stream of them with a step for each.
const WAITS: &str = "\
document: { dsl: '1.0.3', namespace: default, name: waits, version: '1.0.0' }
do:
  - both:
      listen:
        to:
          all:
            - { with: { type: a, subject: '${ .n }' } }
            - { with: { type: b, subject: '${ .n }' } }
  - more:
      listen: { to: { any: [ { with: { type: c, subject: '${ $workflow.input.n }' } } ], until: 'length == 3' } }
      foreach: { do: [ { back: { call: noop, with: { data: '${ $item }', at: '${ $index }' } } } ] }
";

async fn publish(nats: &Nats, kind: &str, n: usize, number: usize) {
    let event = json!({
        "specversion": "1.0", "id": format!("{kind}{n}-{number}"), "source": "/crash", "type": kind, "subject": n.to_string(),
        "data": number,
    });
    nats.store(stepmill_nats::Outgoing::new(format!("sm.event.default.{kind}"), event.to_string())).await.unwrap();
}

/// No event is lost and none counts twice, though every coordinator is killed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_runs_miss_nothing_when_everything_is_killed() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 1, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    let nats = cluster.connect().await;
    client.define(WAITS).await;
    let mut runs = BTreeMap::new();
    for n in 0..RUNS {
        runs.insert(n, client.submit("waits", &format!("w{n}"), &json!({"n": n.to_string()})).await);
    }
    for n in 0..RUNS {
        publish(&nats, "a", n, 0).await;
    }
    kill_all(&mut cluster);
    // Nobody is there.
    for n in 0..RUNS {
        publish(&nats, "b", n, 1).await;
    }
    revive_all(&mut cluster);
    for (n, run) in &runs {
        // At the second `listen`: what comes from now on is its own.
        loop {
            let view = client.insist("get", &json!({"run": run})).await;
            if view["live"][0]["path"] == "/do/1/more" {
                break;
            }
            assert_eq!(view["state"], "running", "run {n}: {view}");
            let question = json!({"run": run, "after_rev": view["rev"], "wait_ms": 1_000});
            client.insist("get", &question).await;
        }
    }
    for number in 0..3 {
        for n in 0..RUNS {
            publish(&nats, "c", n, number).await;
            // The same message again: it was not confirmed, say.
            publish(&nats, "c", n, number).await;
            if n == RUNS / 2 {
                kill_all(&mut cluster);
                revive_all(&mut cluster);
            }
        }
    }
    for (n, run) in &runs {
        let view = client.result(run, Duration::from_secs(60)).await;
        let expected: Vec<Value> = (0..3).map(|at| json!({"data": at, "at": at})).collect();
        assert_eq!(view["output"], json!(expected), "run {n}: {view}\n{}", cluster.logs());
    }
}

fn kill_all(cluster: &mut Cluster) {
    for place in 0..2 {
        cluster.kill(place).unwrap();
    }
}

fn revive_all(cluster: &mut Cluster) {
    for place in 0..2 {
        cluster.revive(place).unwrap();
    }
}
