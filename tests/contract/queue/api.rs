//! Short-lived messages: answers to whoever waits, questions to owners, calls of the API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_coordinator::port::bus::{ApiHandler, OwnerAnswer, OwnerHandler, OwnerRequest};
use stepmill_protocol::api::Folded;
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::{Namespace, PartitionNo, Problem};

use super::link::Owner;
use super::support::{Case, LONG, new_run, until};

pub(crate) async fn an_answer_reaches_whoever_waits(case: &Case) {
    let (first, second) = (case.bus.wait(), case.bus.wait());
    assert_ne!(first.address, second.address);
    let ignored = Folded::Ignored { note: "too late".into() };
    case.bus.answer(&second.address, &ignored);
    case.bus.answer(&first.address, &Folded::Applied);
    let answers = tokio::time::timeout(LONG, async { (first.answer.await, second.answer.await) }).await.unwrap();
    assert_eq!(answers, (Ok(Folded::Applied), Ok(ignored)));
}

pub(crate) async fn an_answer_that_nobody_waits_for_is_dropped(case: &Case) {
    let given_up = case.bus.wait();
    let address = given_up.address.clone();
    drop(given_up);
    case.bus.answer(&address, &Folded::Applied);
    // Later ones still get theirs, once.
    let waiting = case.bus.wait();
    let refused = Folded::Refused(Problem::own("x", 400, "X", "no"));
    case.bus.answer(&waiting.address, &refused);
    case.bus.answer(&waiting.address, &Folded::Applied);
    assert_eq!(tokio::time::timeout(LONG, waiting.answer).await.unwrap(), Ok(refused));
}

fn watch() -> OwnerRequest {
    OwnerRequest::Watch { run: new_run(), rev: 1, until_end: false, even_unknown: true, wait_ms: 1 }
}

pub(crate) async fn a_watch_reaches_the_owner(case: &Case) {
    let nobody = case.bus.ask_owner(case.partition, &watch(), Duration::from_secs(2)).await;
    assert_eq!(nobody.unwrap_err().status, 503);
    let guard = case.bus.serve_owner(case.partition, Arc::new(Owner)).await.unwrap();
    let answer = case.bus.ask_owner(case.partition, &watch(), LONG).await.unwrap();
    assert!(matches!(answer, OwnerAnswer::Seen), "{answer:?}");
    drop(guard);
    until("nobody answers", async || {
        case.bus.ask_owner(case.partition, &watch(), Duration::from_secs(2)).await.is_err()
    })
    .await;
}

/// Never answers.
struct Silent;

impl OwnerHandler for Silent {
    fn handle(&self, _: PartitionNo, _: OwnerRequest) -> BoxFuture<'static, OwnerAnswer> {
        Box::pin(std::future::pending())
    }
}

pub(crate) async fn an_owner_that_is_slow_is_not_waited_for(case: &Case) {
    let _guard = case.bus.serve_owner(case.partition, Arc::new(Silent)).await.unwrap();
    let begun = Instant::now();
    let answer = case.bus.ask_owner(case.partition, &watch(), Duration::from_millis(100)).await;
    assert!(answer.unwrap_err().status >= 500);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

/// Answers with what it was asked, or with a problem.
struct Echo;

impl ApiHandler for Echo {
    fn handle(
        &self,
        namespace: Namespace,
        verb: String,
        content: ContentType,
        body: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<u8>, Problem>> {
        Box::pin(async move {
            match verb.as_str() {
                "cancel" => Err(Problem::own("not-found", 404, "Not found", "no such run").at("/do/0")),
                _ => {
                    Ok([namespace.as_str().as_bytes(), b" ", verb.as_bytes(), b" ", content.as_str().as_bytes(), &body]
                        .concat())
                }
            }
        })
    }
}

pub(crate) async fn a_call_reaches_the_handler(case: &Case) {
    let _guard = case.bus.serve_api(Arc::new(Echo)).await.unwrap();
    let namespace = Namespace::new("team").unwrap();
    for (content, text) in [(ContentType::Json, "application/json"), (ContentType::MsgPack, "application/msgpack")] {
        let body = vec![0, 255, b'{'];
        let answer = case.caller.call(&namespace, "get", content, body.clone(), LONG).await.unwrap();
        assert_eq!(answer, [b"team get ", text.as_bytes(), &body].concat());
    }
}

pub(crate) async fn a_problem_is_handed_through(case: &Case) {
    let guard = case.bus.serve_api(Arc::new(Echo)).await.unwrap();
    let namespace = Namespace::new("team").unwrap();
    let call = async |wait| case.caller.call(&namespace, "cancel", ContentType::Json, Vec::new(), wait).await;
    let problem = call(LONG).await.unwrap_err();
    assert_eq!(problem, Problem::own("not-found", 404, "Not found", "no such run").at("/do/0"));
    drop(guard);
    let gone = Duration::from_millis(300);
    until("nobody serves the API", async || call(gone).await.is_err_and(|p| p.status >= 500)).await;
}
