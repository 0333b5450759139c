//! The API as a micro service, questions to owners, announcements of workers, replies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_nats::{
    ApiCall, ApiHandler, Nats, NatsApiCaller, NatsError, NatsWorkerLink, OwnerHandler, Serving, TaskQueues,
};
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::{ApiCaller, BoxFuture, WorkerLink};
use stepmill_protocol::problem::{Problem, Standard};
use stepmill_protocol::{
    AskAnswer, AskRequest, CommandId, MayRun, PartitionNo, Pass, PoolName, TaskToken, Value, Visit,
};

use crate::support::{connect, fixture, namespace, pool, run};

const SOON: Duration = Duration::from_secs(5);

/// Answers with what it was asked.
struct Echo;

impl ApiHandler for Echo {
    fn call(&self, call: ApiCall) -> BoxFuture<'_, Result<Vec<u8>, Problem>> {
        Box::pin(async move {
            if call.verb == "fail" {
                return Err(Problem::own("not-found", 404, "Not found", "no such run"));
            }
            let body: Value = call.content.read(&call.body).unwrap();
            let answer = serde_json::json!({"namespace": call.namespace, "verb": call.verb, "body": body});
            Ok(call.content.write(&answer).unwrap())
        })
    }
}

impl OwnerHandler for Echo {
    fn ask(&self, _: PartitionNo, pool: PoolName, request: AskRequest) -> BoxFuture<'_, Option<AskAnswer>> {
        Box::pin(async move {
            match request {
                AskRequest::MayRun { .. } => Some(AskAnswer::MayRun(MayRun::Done)),
                AskRequest::Value { .. } => Some(AskAnswer::Value(pool.as_str().into())),
            }
        })
    }

    fn own(&self, partition: PartitionNo, body: bytes::Bytes) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move { (body != "gone").then(|| format!("{partition}:{}", body.len()).into_bytes()) })
    }
}

async fn serve(nats: &Nats) -> Serving {
    nats.serve_api(Arc::new(Echo)).await.unwrap()
}

#[tokio::test]
async fn plain_json_without_headers_is_answered_as_json() {
    let f = fixture().await;
    let _serving = serve(&f.nats).await;
    let answer = connect(&f.server).await.request("sm.api.default.submit", r#"{"a":1}"#, SOON).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer, serde_json::json!({"namespace": "default", "verb": "submit", "body": {"a": 1}}));
    let ping = f.nats.request("$SRV.PING.stepmill", "", SOON).await.unwrap();
    assert!(String::from_utf8_lossy(&ping).contains("io.nats.micro"));
}

#[tokio::test]
async fn both_encodings_and_problems_cross() {
    let f = fixture().await;
    let _serving = serve(&f.nats).await;
    let caller = NatsApiCaller::new(connect(&f.server).await);
    for content in [ContentType::Json, ContentType::MsgPack] {
        let body = content.write(&serde_json::json!({"x": [1, "ä"]})).unwrap();
        let answer = caller.call(&namespace(), "get", content, body.clone(), SOON).await.unwrap();
        let answer: Value = content.read(&answer).unwrap();
        assert_eq!(answer["body"], serde_json::json!({"x": [1, "ä"]}));
        let problem = caller.call(&namespace(), "fail", content, body, SOON).await.unwrap_err();
        assert_eq!((problem.status, problem.detail.as_deref()), (404, Some("no such run")));
    }
    let problem = f.nats.request("sm.api.bad name!.get", "{}", SOON).await.unwrap_err();
    assert!(!problem.is_retryable());
    let problem = f.nats.request("sm.api.b!d.get", "{}", SOON).await.unwrap();
    let problem: Problem = serde_json::from_slice(&problem).unwrap();
    assert!(problem.is(Standard::Validation), "{problem}");
}

#[tokio::test]
async fn a_call_waits_for_a_coordinator_to_come_up_and_says_when_none_does() {
    let f = fixture().await;
    let caller = NatsApiCaller::new(connect(&f.server).await);
    let began = Instant::now();
    let none = caller.call(&namespace(), "get", ContentType::Json, b"1".to_vec(), Duration::from_millis(300)).await;
    assert!(none.unwrap_err().detail.unwrap().contains("no coordinator answers"));
    assert!(began.elapsed() < Duration::from_secs(2));
    let default = namespace();
    let call = caller.call(&default, "get", ContentType::Json, b"1".to_vec(), SOON);
    let start = async {
        tokio::task::yield_now().await;
        serve(&f.nats).await
    };
    let (answer, serving) = tokio::join!(call, start);
    answer.unwrap();
    serving.drain(SOON).await;
    let none = f.nats.request("sm.api.default.get", "1", SOON).await;
    assert!(matches!(none, Err(NatsError::NoResponders { .. })), "{none:?}");
}

#[tokio::test]
async fn owners_answer_for_their_partition_until_they_let_go() {
    let f = fixture().await;
    let serving = f.nats.serve_partition(PartitionNo(2), Arc::new(Echo)).await.unwrap();
    let link = NatsWorkerLink::new(connect(&f.server).await);
    let id = CommandId { run: run(1), visit: Visit(1), pass: Pass(0), dispatch: 1 };
    let request = AskRequest::MayRun { id, token: TaskToken([0; 16]) };
    let answer = link.ask(&pool(), PartitionNo(2), request.clone()).await.unwrap();
    assert_eq!(answer, AskAnswer::MayRun(MayRun::Done));
    let own = f.nats.request(&stepmill_nats::subject::own(PartitionNo(2)), "abc", SOON).await.unwrap();
    assert_eq!(own, "2:3");
    let silent = f.nats.request(&stepmill_nats::subject::own(PartitionNo(2)), "gone", Duration::from_millis(100)).await;
    assert!(matches!(silent, Err(NatsError::Timeout { .. })), "{silent:?}");
    serving.drain(SOON).await;
    let error = link.ask(&pool(), PartitionNo(2), request).await.unwrap_err();
    assert!(error.retryable && !error.may_have_happened, "{error}");
}

#[tokio::test]
async fn a_worker_that_joins_an_unknown_pool_gets_its_queue() {
    let f = fixture().await;
    let queues = TaskQueues::new(f.nats.clone(), f.options.clone());
    let link = NatsWorkerLink::new(connect(&f.server).await);
    let strange = PoolName::new("strange-1").unwrap();
    let serve = async {
        tokio::task::yield_now().await;
        f.nats.serve_joins(queues.clone()).await.unwrap()
    };
    let (joined, _serving) = tokio::join!(tokio::time::timeout(SOON, link.join(&strange, &[])), serve);
    joined.unwrap().unwrap();
    assert!(queues.state(&strange).await.unwrap().is_some());
}

#[tokio::test]
async fn replies_find_their_waiters() {
    let f = fixture().await;
    let other = connect(&f.server).await;
    let (subjects, waits): (Vec<_>, Vec<_>) = (0..2000).map(|_| f.nats.expect_reply()).unzip();
    for (n, subject) in subjects.iter().enumerate() {
        other.publish(subject, n.to_string()).await.unwrap();
    }
    for (n, wait) in waits.into_iter().enumerate() {
        assert_eq!(wait.within(SOON).await.unwrap(), n.to_string());
    }
    let (_, wait) = f.nats.expect_reply();
    assert!(matches!(wait.within(Duration::from_millis(10)).await, Err(NatsError::Timeout { .. })));
}
