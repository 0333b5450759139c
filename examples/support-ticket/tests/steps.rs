//! The steps as a worker runs them: through its registry, its codec and its acks.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;

use serde_json::json;
use stepmill_example_support_ticket::{ORDERS, Store, WORKFLOW, steps};
use stepmill_worker::Worker;
use stepmill_worker::testing::{MemoryLink, task};

fn seeded() -> Store {
    let store = Store::in_memory().unwrap();
    store.seed(ORDERS).unwrap();
    store
}

async fn work(store: &Store, link: &MemoryLink, tasks: usize) {
    let worker = steps(store)(Worker::builder(Arc::new(link.clone())).slots(4));
    worker.run(link.until_settled(tasks)).await.unwrap();
}

#[tokio::test]
async fn a_ticket_is_worked_on_and_answered() {
    let (store, link) = (seeded(), MemoryLink::default());
    link.push("start-return", json!({"ticket": "t-1", "text": "returning #W1000001"}));
    link.push("send-reply", json!({"ticket": "t-1", "text": "It is on its way."}));
    work(&store, &link, 2).await;
    assert_eq!(store.outbox().unwrap()[0].text, "It is on its way.");
    assert_eq!(store.requests().unwrap()[0].order.as_deref(), Some("#W1000001"));
    assert!(link.outputs().iter().any(|o| o["outcome"] == "opened" && o["request"] == 1));
    assert!(link.outputs().iter().any(|o| *o == json!({"message": 1})));
}

#[tokio::test]
async fn a_task_that_comes_twice_is_sent_once() {
    let (store, link) = (seeded(), MemoryLink::default());
    let mut twice = task("send-reply");
    twice.input = stepmill_protocol::Payload::Inline(json!({"ticket": "t-1", "text": "Hello"}));
    // Both arrive as first deliveries, as after a crash between the act and the report.
    link.deliver(twice.clone(), 1);
    link.deliver(twice, 1);
    work(&store, &link, 2).await;
    assert_eq!(link.outputs(), [json!({"message": 1}), json!({"message": 1})]);
    assert_eq!(store.outbox().unwrap().len(), 1);
}

#[tokio::test]
async fn an_empty_answer_is_not_sent() {
    let (store, link) = (seeded(), MemoryLink::default());
    link.push("send-reply", json!({"ticket": "t-1", "text": " "}));
    work(&store, &link, 1).await;
    assert!(link.outputs().is_empty() && store.outbox().unwrap().is_empty());
}

#[tokio::test]
async fn every_step_that_the_workflow_calls_is_registered() {
    let link = MemoryLink::default();
    let worker = steps(&seeded())(Worker::builder(Arc::new(link))).build().unwrap();
    let kinds: Vec<String> = worker.kinds().iter().map(ToString::to_string).collect();
    let called: Vec<&str> =
        WORKFLOW.lines().filter_map(|l| l.trim().strip_prefix("call: ")).filter(|kind| *kind != "llm").collect();
    assert!(called.len() > kinds.len(), "each step is called at least once: {called:?}");
    for kind in &called {
        assert!(kinds.iter().any(|k| k == kind), "`{kind}` is called but not registered");
    }
    for kind in &kinds {
        assert!(called.contains(&kind.as_str()), "`{kind}` is registered but never called");
    }
}
