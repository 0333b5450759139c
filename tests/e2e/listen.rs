//! Events from outside: over the API, and by publishing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup};

const ONE: &str = "\
document: { dsl: '1.0.3', namespace: default, name: one, version: '1.0.0' }
do:
  - paid:
      listen:
        to: { one: { with: { type: com.example.paid }, correlate: { order: { from: .data.order, expect: '${ .order }' } } } }
";
const STREAM: &str = "\
document: { dsl: '1.0.3', namespace: default, name: stream, version: '1.0.0' }
do:
  - readings:
      listen:
        to: { any: [ { with: { type: com.example.reading } } ], until: 'length >= 300' }
      foreach:
        do: [ { back: { call: noop, with: { n: '${ $item.n }' } } } ]
        output: { as: .n }
";

async fn start(coordinators: usize) -> (Cluster, JsonClient) {
    let cluster = Cluster::start(ClusterSetup { coordinators, workers: 1, ..ClusterSetup::default() }).unwrap();
    let client = cluster.client().await;
    client.define(ONE).await;
    client.define(STREAM).await;
    (cluster, client)
}

fn event(id: &str, kind: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": kind, "data": data})
}

/// Each of many runs gets the event that is its own, whichever way it comes; a submission that was acknowledged misses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_run_gets_its_own_event() {
    let (cluster, client) = start(2).await;
    let nats = cluster.connect().await;
    let mut runs = Vec::new();
    for n in 0..40 {
        let run = client.submit("one", &format!("o{n}"), &json!({"order": n})).await;
        let event = event(&format!("e{n}"), "com.example.paid", &json!({"order": n}));
        if n % 2 == 0 {
            let answer = client.insist("event", &event).await;
            assert_eq!(answer, json!({"id": format!("e{n}"), "source": "/test", "created": true}));
        } else {
            nats.publish("sm.event.default.paid", event.to_string().into_bytes()).await.unwrap();
        }
        runs.push(run);
    }
    for (n, run) in runs.iter().enumerate() {
        let view = client.result(run, Duration::from_secs(30)).await;
        assert_eq!(view["output"], json!([{"order": n}]), "{view}\n{}", cluster.logs());
    }
    let again = client.insist("event", &event("e0", "com.example.paid", &json!({"order": 0}))).await;
    assert_eq!(again["created"], false);
}

/// Three hundred events, faster than the `foreach` takes them: each once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_is_worked_off_in_order() {
    let (cluster, client) = start(1).await;
    let run = client.submit("stream", "s", &Value::Null).await;
    let nats = cluster.connect().await;
    for n in 0..300 {
        let event = event(&format!("r{n}"), "com.example.reading", &json!({"n": n}));
        nats.publish("sm.event.default.reading", event.to_string().into_bytes()).await.unwrap();
    }
    let view = client.result(&run, Duration::from_secs(60)).await;
    let expected: Vec<u32> = (0..300).collect();
    assert_eq!(view["output"], json!(expected), "{view}\n{}", cluster.logs());
}

/// What is no event is refused where somebody waits for an answer, and put aside where nobody does; it holds up none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_told_so_and_put_aside() {
    let (cluster, client) = start(1).await;
    let run = client.submit("one", "o1", &json!({"order": 1})).await;
    let mut bad = event("x", "com.example.paid", &json!({"order": 1}));
    bad["source"] = json!("");
    let refused = client.request("event", &bad, Duration::from_secs(10)).await.unwrap();
    assert_eq!(refused["status"], 400, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("`source`"), "{refused}");
    let nats = cluster.connect().await;
    nats.publish("sm.event.default.paid", b"not JSON".to_vec()).await.unwrap();
    let good = event("y", "com.example.paid", &json!({"order": 1}));
    nats.publish("sm.event.default.paid", good.to_string().into_bytes()).await.unwrap();
    let view = client.result(&run, Duration::from_secs(30)).await;
    assert_eq!(view["output"], json!([{"order": 1}]), "{view}\n{}", cluster.logs());
    let deadline = Instant::now() + Duration::from_secs(20);
    let question = b"{\"seq\":1}".to_vec();
    loop {
        let letter =
            nats.request("$JS.API.DIRECT.GET.SM_DEAD", question.clone(), Duration::from_secs(5)).await.unwrap();
        if String::from_utf8_lossy(&letter).contains("no CloudEvent") {
            break;
        }
        assert!(Instant::now() < deadline, "no dead letter\n{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
