//! One service behind a transport of the test's own: which limit of time ends what, and cassettes.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use serde_json::json;
use stepmill_agent::provider::{Cassette, Reply, Send, Service, Timeouts, Transport};
use stepmill_agent::types::{Format, Message, ModelAnswer, ModelError, ModelErrorKind, ModelRequest};
use stepmill_agent::wire::{Headers, Style};
use stepmill_agent::{Call, Model};
use stepmill_protocol::link::BoxFuture;
use stepmill_worker::Secrets;
use tokio::time::{Instant, sleep};

const TIMEOUTS: Timeouts =
    Timeouts { first_token: Duration::from_secs(10), idle: Duration::from_secs(3), attempt: Duration::from_secs(30) };

/// Answers after a while with pieces that take a while each; counts what it is asked.
struct Slow {
    status: u16,
    headers_after: Duration,
    pieces: Vec<(Duration, String)>,
    ends: bool,
    asked: Arc<AtomicUsize>,
}

impl Transport for Slow {
    fn send(&self, _: Send) -> BoxFuture<'_, Result<Reply, ModelError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            sleep(self.headers_after).await;
            let pieces = stream::iter(self.pieces.clone()).then(|(pause, piece)| async move {
                sleep(pause).await;
                Ok(Bytes::from(piece))
            });
            let body = if self.ends { pieces.boxed() } else { pieces.chain(stream::pending()).boxed() };
            let kind = if self.status == 200 { "text/event-stream" } else { "application/json" };
            Ok(Reply { status: self.status, headers: Headers::from_iter([("Content-Type", kind)]), body })
        })
    }
}

fn slow(headers_after: u64, pauses: &[u64], ends: bool) -> Slow {
    let piece = |(n, pause): (usize, &u64)| {
        let finish = if n + 1 == pauses.len() { json!("stop") } else { json!(null) };
        let chunk = json!({"model": "m", "choices": [{"delta": {"content": "x"}, "finish_reason": finish}]});
        (Duration::from_secs(*pause), format!("data: {chunk}\n\n"))
    };
    let pieces = pauses.iter().enumerate().map(piece).collect();
    let headers_after = Duration::from_secs(headers_after);
    Slow { status: 200, headers_after, pieces, ends, asked: Arc::default() }
}

fn service(transport: Arc<dyn Transport>) -> Service {
    Service {
        name: "the service".into(),
        format: Format::OpenaiChat,
        style: Style::default(),
        base_url: "http://somewhere/v1".into(),
        key: None,
        headers: Vec::new(),
        timeouts: TIMEOUTS,
        secrets: Secrets::of([].into()),
        transport,
    }
}

async fn ask(service: &Service, text: &str) -> Result<ModelAnswer, ModelError> {
    let request = ModelRequest { model: "m".into(), messages: vec![Message::user(text)], ..ModelRequest::default() };
    service.complete(Call { request: &request, key: "k", tries: 1, tokens: None }).await
}

#[tokio::test(start_paused = true)]
async fn each_limit_of_time_ends_what_it_is_for() {
    let long: Vec<u64> = vec![2; 20];
    for (transport, expected, after) in [
        (slow(0, &[9, 2, 2], true), Ok("xxx"), 13),
        (slow(60, &[1], true), Err("the first token"), 10),
        (slow(8, &[8], true), Err("the first token"), 10),
        (slow(1, &[1, 8], true), Err("the next piece"), 5),
        (slow(0, &long, true), Err("the whole answer"), 30),
        (slow(0, &[1, 1], false), Err("the next piece"), 5),
    ] {
        let begun = Instant::now();
        let answer = ask(&service(Arc::new(transport)), "hi").await;
        match (answer, expected) {
            (Ok(answer), Ok(text)) => assert_eq!(answer.text(), text),
            (Err(error), Err(text)) => {
                assert_eq!(error.kind, ModelErrorKind::Timeout);
                assert!(error.detail.contains(text) && error.detail.starts_with("the service"), "{error}");
            }
            (answer, expected) => panic!("{answer:?} instead of {expected:?}"),
        }
        assert_eq!(begun.elapsed().as_secs(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_text_does_not_come_is_still_a_refusal() {
    let transport = Slow { status: 503, ..slow(0, &[1], false) };
    let error = ask(&service(Arc::new(transport)), "hi").await.unwrap_err();
    assert_eq!((error.kind, error.status), (ModelErrorKind::Overloaded, Some(503)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cassette_plays_what_it_recorded_and_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answers.jsonl");
    let on = |mode: &str, transport: Slow| {
        let setting = format!("{mode}:{}", file.display()).parse().unwrap();
        Cassette::open(&setting, Arc::new(transport)).map(|cassette| service(Arc::new(cassette)))
    };
    let asked = |transport: &Slow| Arc::clone(&transport.asked);

    let first = slow(1, &[1, 1], true);
    let count = asked(&first);
    let recorded = on("record", first).unwrap();
    let real = ask(&recorded, "hi").await.unwrap();
    assert_eq!((real.text().as_str(), count.load(Ordering::Relaxed)), ("xx", 1));
    ask(&recorded, "hi").await.unwrap();
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().count(), 2, "each answer");

    let never = slow(0, &[1], true);
    let count = asked(&never);
    let replayed = on("replay", never).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&replayed, "hi").await.unwrap(), real);
    }
    let missing = ask(&replayed, "something else").await.unwrap_err();
    assert_eq!((missing.kind, count.load(Ordering::Relaxed)), (ModelErrorKind::NotRecorded, 0));

    let more = slow(0, &[1, 1, 1], true);
    let count = asked(&more);
    let filled = on("fill", more).unwrap();
    assert_eq!(ask(&filled, "hi").await.unwrap(), real);
    assert_eq!(ask(&filled, "something else").await.unwrap().text(), "xxx");
    assert_eq!(ask(&filled, "something else").await.unwrap().text(), "xxx");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&kept), "what was there stays");

    let refused = Slow { status: 429, ..slow(0, &[1], true) };
    assert!(ask(&on("fill", refused).unwrap(), "third").await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3, "refusals are not kept");

    std::fs::write(&file, "no cassette\n").unwrap();
    let wrong = on("replay", slow(0, &[], true)).err().unwrap().to_string();
    assert!(wrong.contains("line 1"), "{wrong}");
    assert!("keep:x".parse::<stepmill_agent::provider::CassetteSetting>().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cassette_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answers.jsonl");
    let setting = format!("record:{}", file.display()).parse().unwrap();
    let cassette = Cassette::open(&setting, Arc::new(slow(0, &[1], true))).unwrap();
    let secrets = Secrets::of([("STEPMILL_SECRET_MAIN".to_owned(), "sk-secret".to_owned())].into());
    let key = Some(serde_json::from_value(json!("main")).unwrap());
    let keyed = Service { key, secrets, ..service(Arc::new(cassette)) };
    ask(&keyed, "hi").await.unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("sk-secret"));
}
