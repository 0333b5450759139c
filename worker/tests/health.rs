//! What a worker tells those who watch it, over HTTP and over the broker in memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_worker::testing::{Act, MemoryLink};
use stepmill_worker::{Context, Failure, Health, Worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// Longer than anything takes on a slow machine.
const LONG: Duration = Duration::from_secs(20);

/// Status and body, asked as any program would.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks until the answer has this status.
async fn get_until(address: SocketAddr, path: &str, status: u16) -> String {
    let asked = async {
        loop {
            let (got, body) = get(address, path).await;
            if got == status {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, asked).await.unwrap_or_else(|_| panic!("{path} never answered {status}"))
}

fn health() -> Health {
    Health::serve(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

fn line<'a>(metrics: &'a str, name: &str) -> &'a str {
    let found = metrics.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    found.unwrap_or_else(|| panic!("{name} is missing in\n{metrics}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_ready_once_it_has_joined_until_it_stops() {
    let (health, link, leave, hold) =
        (health(), MemoryLink::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let address = health.address();
    assert_eq!(get(address, "/ready").await, (503, "no worker runs\n".into()));
    assert_eq!(get(address, "/live").await, (200, "ok\n".into()));
    let held = Arc::clone(&hold);
    let step = move |_: Context, (): ()| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            Ok::<_, Failure>(())
        }
    };
    let builder = Worker::builder(Arc::new(link.clone())).pool("slow").slots(3).health(&health);
    let builder = builder.fetch_wait(Duration::from_millis(20)).step("hold", step);
    let (leaving, worker) = (Arc::clone(&leave), builder.build().unwrap());
    assert_eq!(get(address, "/ready").await, (503, "the worker of pool `slow` has not joined its pool yet\n".into()));
    let worker = tokio::spawn(worker.run(async move { leaving.notified().await }));
    get_until(address, "/ready", 200).await;
    link.push("hold", Value::Null);
    link.until(|acts| acts.iter().any(|act| matches!(act, Act::Fetch { given: 1, .. }))).await;
    let metrics = loop {
        let (_, metrics) = get(address, "/metrics").await;
        if line(&metrics, "stepmill_worker_slots_busy{pool=\"slow\"}") == "1" {
            break metrics;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(line(&metrics, "stepmill_worker_slots{pool=\"slow\"}"), "3");
    leave.notify_one();
    assert!(get_until(address, "/ready", 503).await.contains("is stopping"));
    assert_eq!(get(address, "/live").await.0, 200, "it drains");
    hold.notify_one();
    worker.await.unwrap().unwrap();
    assert_eq!(get(address, "/ready").await, (503, "no worker runs\n".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_counted_by_kind_and_outcome() {
    async fn fail(_: Context, (): ()) -> Result<(), Failure> {
        Err(Failure::terminal("no"))
    }
    async fn echo(_: Context, input: Value) -> Result<Value, Failure> {
        Ok(input)
    }
    let (health, link, leave) = (health(), MemoryLink::default(), Arc::new(Notify::new()));
    for kind in ["echo", "echo", "fail", "unknown"] {
        link.push(kind, json!(null));
    }
    let builder = Worker::builder(Arc::new(link.clone())).health(&health).step("echo", echo).step("fail", fail);
    let (settled, leaving) = (link.until_settled(4), Arc::clone(&leave));
    let worker = tokio::spawn(builder.build().unwrap().run(async move { leaving.notified().await }));
    settled.await;
    let succeeded = "stepmill_attempts_total{pool=\"default\",kind=\"echo\",outcome=\"succeeded\"}";
    let metrics = loop {
        let (status, metrics) = get(health.address(), "/metrics").await;
        assert_eq!(status, 200);
        if line(&metrics, succeeded) == "2" && line(&metrics, "stepmill_worker_slots_busy{pool=\"default\"}") == "0" {
            break metrics;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let attempts = |kind: &str, outcome: &str| {
        let labels = format!("{{pool=\"default\",kind=\"{kind}\",outcome=\"{outcome}\"}}");
        line(&metrics, &format!("stepmill_attempts_total{labels}")).parse::<u64>().unwrap()
    };
    assert_eq!((attempts("echo", "failed"), attempts("fail", "failed")), (0, 1));
    let other: u64 =
        ["succeeded", "failed", "given_back", "skipped", "buried"].map(|o| attempts("_other", o)).iter().sum();
    assert_eq!(other, 1, "{metrics}");
    assert_eq!(line(&metrics, "stepmill_step_seconds_count{pool=\"default\",kind=\"echo\"}"), "2");
    let first_waits = "stepmill_queue_wait_seconds_bucket{le=\"+Inf\",pool=\"default\"}";
    assert_eq!(line(&metrics, first_waits), "4");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(get(health.address(), "/other").await.0, 404);
    leave.notify_one();
    worker.await.unwrap().unwrap();
}
