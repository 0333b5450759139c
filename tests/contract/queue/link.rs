//! What a worker says: reports, questions, dead letters.

use std::sync::Arc;

use stepmill_coordinator::port::bus::{OwnerAnswer, OwnerHandler, OwnerRequest};
use stepmill_coordinator::port::queue::{Source, Start};
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::{AskAnswer, AskRequest, AttemptNo, DeadLetter, MayRun, PartitionNo, Priority, Problem, Task};

use super::support::{Case, new_run, next_of, report, until};

pub(crate) async fn a_report_is_in_the_log(case: &Case) {
    let task = case.task(Priority::Normal);
    case.publish_these(vec![task.clone()]).await;
    case.append(task.run(), 1).await;
    case.link.report(&case.pool, case.partition, report(&task)).await.unwrap();
    let read = next_of(&mut case.read(Start::After(0)).await, 2).await;
    assert_eq!(read[1].source, Source::Worker(case.pool.clone()));
    assert_eq!((read[1].run, read[1].record.as_ref().unwrap()), (task.run(), &report(&task)));
    assert_eq!(case.log.tail(case.partition).await.unwrap(), read[1].seq);
    let history = case.log.history(case.partition, task.run(), 0, 10).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].source, Source::Worker(case.pool.clone()));
}

/// Answers with the number of the partition.
pub(crate) struct Owner;

impl OwnerHandler for Owner {
    fn handle(&self, partition: PartitionNo, request: OwnerRequest) -> BoxFuture<'static, OwnerAnswer> {
        Box::pin(async move {
            match request {
                OwnerRequest::Ask(AskRequest::MayRun { .. }) => {
                    OwnerAnswer::Ask(AskAnswer::MayRun(MayRun::Run { attempt: AttemptNo(u32::from(partition.0)) }))
                }
                OwnerRequest::Ask(AskRequest::Value { value, .. }) => {
                    OwnerAnswer::Ask(AskAnswer::Value(serde_json::json!({"value": value.0})))
                }
                OwnerRequest::Watch { .. } | OwnerRequest::Holds => OwnerAnswer::Seen,
            }
        })
    }
}

fn question(task: &Task) -> AskRequest {
    AskRequest::MayRun { id: task.id, token: task.token }
}

pub(crate) async fn a_question_reaches_the_owner(case: &Case) {
    let task = case.publish(1).await.remove(0).0;
    let (here, there) = (case.partition, case.other_partition());
    let _here = case.bus.serve_owner(here, Arc::new(Owner)).await.unwrap();
    let _there = case.bus.serve_owner(there, Arc::new(Owner)).await.unwrap();
    for partition in [here, there, here] {
        let answer = case.link.ask(&case.pool, partition, question(&task)).await.unwrap();
        assert_eq!(answer, AskAnswer::MayRun(MayRun::Run { attempt: AttemptNo(u32::from(partition.0)) }));
    }
    let value = AskRequest::Value { id: task.id, token: task.token, value: stepmill_protocol::ValueId(5) };
    let answer = case.link.ask(&case.pool, here, value).await.unwrap();
    assert_eq!(answer, AskAnswer::Value(serde_json::json!({"value": 5})));
}

pub(crate) async fn without_owner_a_question_can_be_repeated(case: &Case) {
    let task = case.publish(1).await.remove(0).0;
    let ask = async || case.link.ask(&case.pool, case.partition, question(&task)).await;
    assert!(ask().await.unwrap_err().retryable);
    let guard = case.bus.serve_owner(case.partition, Arc::new(Owner)).await.unwrap();
    ask().await.unwrap();
    drop(guard);
    until("the owner has left", async || ask().await.is_err_and(|e| e.retryable)).await;
    // A successor takes over before the predecessor has left.
    let first = case.bus.serve_owner(case.partition, Arc::new(Owner)).await.unwrap();
    let _second = case.bus.serve_owner(case.partition, Arc::new(Owner)).await.unwrap();
    drop(first);
    until("the successor answers", async || ask().await.is_ok()).await;
}

pub(crate) async fn a_dead_letter_is_kept(case: &Case) {
    let task = case.publish(1).await.remove(0).0;
    let of_task = DeadLetter {
        pool: Some(case.pool.clone()),
        run: task.run(),
        problem: Problem::own("poison", 500, "Given up", "too many deliveries"),
        task: Some(task.clone()),
        record: None,
        deliveries: 21,
    };
    let of_event = DeadLetter {
        pool: None,
        run: new_run(),
        problem: Problem::own("parked", 500, "Given up", "it cannot be folded"),
        task: None,
        record: Some(Box::new(report(&task))),
        deliveries: 0,
    };
    case.link.bury(&case.pool, of_task.clone()).await.unwrap();
    case.archive.bury(&of_event).await.unwrap();
    let letters = (case.buried)().await;
    assert!(letters.contains(&of_task), "{letters:?}");
    assert!(letters.contains(&of_event), "{letters:?}");
}
