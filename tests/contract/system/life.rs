//! Life-cycle events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stepmill_coordinator::port::life::{Life, LifeHearer, LifeMessage, LifeWanted};
use stepmill_coordinator::port::queue::QueueError;
use stepmill_protocol::{CloudEvent, Namespace, PartitionNo, RunId, WorkflowName};

use super::{LONG, System};

const FLOW: &str = "
do:
  - each: { for: { in: '${ [1, 2] }' }, do: [ { one: { set: { n: '${ $item }' } } } ] }
  - pause: { wait: { milliseconds: 20 } }
";

fn wanted(run: Option<RunId>) -> LifeWanted {
    LifeWanted { namespace: Namespace::new("default").unwrap(), workflow: Some("flow".parse().unwrap()), run }
}

/// The events up to the end of one run.
async fn heard(hearer: &mut dyn LifeHearer) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let message = tokio::time::timeout(LONG, hearer.next()).await.expect("it is told in time").unwrap().unwrap();
        let event: Value = serde_json::from_slice(&message.body).unwrap();
        let is_end = event["type"] == "io.serverlessworkflow.workflow.completed.v1";
        assert_eq!(event["subject"], message.run.to_string());
        events.push(event);
        if is_end {
            return events;
        }
    }
}

/// What the log gives.
async fn asked(system: &System, run: RunId) -> Vec<Value> {
    let mut events: Vec<CloudEvent> = Vec::new();
    loop {
        let after = events.last().and_then(|e| e.attribute("sequence")).and_then(Value::as_str).map(str::to_owned);
        let page = system.client.life(run, after.as_deref()).await.unwrap().events;
        if page.is_empty() {
            return events.into_iter().map(Value::from).collect();
        }
        events.extend(page);
    }
}

pub(super) async fn what_is_heard_can_be_asked_for_later(system: System) {
    system.define("other", FLOW).await;
    system.define("flow", FLOW).await;
    let mut hearer = system.ports.life.hear(wanted(None)).await.unwrap();
    system.submit("other", json!({})).await;
    let run = system.submit("flow", json!({})).await;
    let events = heard(hearer.as_mut()).await;
    assert_eq!(events, asked(&system, run).await);
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(kinds.len(), 1 + 2 + 2 * 3 + 1 + 3 + 1, "{kinds:?}");
    assert_eq!(events[0]["data"]["definition"], json!({ "name": "flow", "namespace": "default", "version": "1.0.0" }));
    assert_eq!(events[1]["data"]["workflow"], format!("flow-{run}.default"));
    assert_eq!(events[1]["data"]["task"], "/do/0/each");
    assert_eq!(events.last().unwrap()["data"]["output"], json!({ "n": 2 }));
    // Of one run alone.
    let run = system.submit("flow", json!({})).await;
    drop(hearer);
    system.result(run).await;
    assert_eq!(asked(&system, run).await.len(), events.len());
}

/// The events go nowhere until it is let loose.
struct Held {
    inner: Arc<dyn Life>,
    loose: AtomicBool,
}

#[async_trait::async_trait]
impl Life for Held {
    fn is_wanted(&self, _: &Namespace, _: &WorkflowName) -> bool {
        true
    }

    async fn tell(&self, events: Vec<LifeMessage>) -> Result<(), QueueError> {
        if self.loose.load(Ordering::Acquire) {
            return self.inner.tell(events).await;
        }
        std::future::pending().await
    }

    async fn hear(&self, wanted: LifeWanted) -> Result<Box<dyn LifeHearer>, QueueError> {
        self.inner.hear(wanted).await
    }
}

pub(super) async fn what_was_not_told_is_told_by_the_next_owner(mut system: System) {
    let held = Arc::new(Held { inner: system.ports.life.clone(), loose: AtomicBool::new(false) });
    system.ports.life = held.clone();
    system.replace().await;
    system.define("flow", FLOW).await;
    let run = system.submit("flow", json!({})).await;
    system.result(run).await;
    let mut hearer = system.ports.life.hear(wanted(Some(run))).await.unwrap();
    held.loose.store(true, Ordering::Release);
    system.replace().await;
    assert_eq!(heard(hearer.as_mut()).await, asked(&system, run).await);
    // Then nothing is left of it.
    let deadline = std::time::Instant::now() + LONG;
    for partition in (0..4).map(PartitionNo) {
        while !system.ports.store.told(partition).await.unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "what was told is forgotten");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
