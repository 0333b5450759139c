//! The example on servers: two coordinators, three workers for the model, one for the shop's own steps.

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_tests::cluster::{Cluster, ClusterSetup, Role};
use stepmill_tests::server::repository;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_answered_over_nats_and_json() {
    let mut cluster = Cluster::start(ClusterSetup { workers: 0, ..ClusterSetup::default() }).unwrap();
    for role in [Role::Model, Role::Model, Role::Model, Role::Example] {
        cluster.add(role).unwrap();
    }
    let client = cluster.client().await;
    let example = repository().join("examples/support-ticket");
    client.define(&std::fs::read_to_string(example.join("workflow.yaml")).unwrap()).await;
    let tickets = std::fs::read_to_string(example.join("tickets.jsonl")).unwrap();
    let mut runs = Vec::new();
    for line in tickets.lines() {
        let ticket: Value = serde_json::from_str(line).unwrap();
        let input = json!({"id": ticket["id"], "text": ticket["text"]});
        runs.push((client.submit("support-ticket", ticket["id"].as_str().unwrap(), &input).await, ticket));
    }
    assert_eq!(runs.len(), 24);
    let mut right = 0;
    for (run, ticket) in runs {
        let view = client.result(&run, Duration::from_secs(60)).await;
        assert_eq!(view["state"], "completed", "{view}\n{}", cluster.logs());
        right += usize::from(view["output"]["category"] == ticket["label"]);
        let usage = &view["usage"];
        assert!(usage["model_calls"].as_u64().unwrap() >= 2, "{view}");
    }
    assert!(right >= 20, "{right} of 24 labels are right");
}
