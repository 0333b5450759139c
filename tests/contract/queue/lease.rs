//! What happens to a task that a worker holds: it keeps silent, gives a sign, gives it back.

use std::time::{Duration, Instant};

use super::support::{Case, SHORT, tasks_of};

pub(crate) async fn a_silent_worker_loses_its_task(case: &Case) {
    let task = case.publish(1).await.remove(0).0;
    let first = case.fetch_one().await;
    let second = case.fetch_one().await;
    let third = case.fetch_one().await;
    assert_eq!([first.deliveries, second.deliveries, third.deliveries], [1, 2, 3]);
    assert_eq!(third.task.unwrap(), task);
    case.link.ack(&third.ack).await.unwrap();
    let ack_wait = case.link.heartbeat(&case.pool).await.unwrap().ack_wait();
    case.nothing_comes(ack_wait * 2).await;
}

pub(crate) async fn a_sign_keeps_the_task(case: &Case) {
    case.publish(1).await;
    let held = case.fetch_one().await;
    let mut heartbeat = case.link.heartbeat(&case.pool).await.unwrap();
    let ack_wait = heartbeat.ack_wait();
    let end = Instant::now() + ack_wait * 4;
    while Instant::now() < end {
        heartbeat.progress(std::slice::from_ref(&held.ack)).await;
        case.nothing_comes(ack_wait / 5).await;
    }
    let silent = Instant::now();
    let again = case.fetch_one().await;
    assert!(silent.elapsed() >= ack_wait / 2, "{:?} after the last sign", silent.elapsed());
    assert_eq!(again.deliveries, 2);
    case.link.ack(&again.ack).await.unwrap();
}

/// A worker that is late has done the work all the same.
pub(crate) async fn a_late_ack_counts(case: &Case) {
    case.publish(1).await;
    let late = case.fetch_one().await;
    let again = case.fetch_one().await;
    case.link.ack(&late.ack).await.unwrap();
    let ack_wait = case.link.heartbeat(&case.pool).await.unwrap().ack_wait();
    case.nothing_comes(ack_wait * 2).await;
    case.link.ack(&again.ack).await.unwrap();
}

pub(crate) async fn a_lost_task_comes_before_new_ones(case: &Case) {
    let lost = case.publish(1).await.remove(0).0;
    case.fetch_one().await;
    let ack_wait = case.link.heartbeat(&case.pool).await.unwrap().ack_wait();
    // The lease ends while nobody fetches.
    tokio::time::sleep(ack_wait + Duration::from_millis(200)).await;
    let new = case.publish(1).await.remove(0).0;
    let mut both = tasks_of(&case.fetch(2).await);
    both.sort_by_key(|task| task.id.visit);
    assert_eq!(both, [lost, new]);
}

pub(crate) async fn a_task_given_back_comes_after_its_delay(case: &Case) {
    const DELAY: Duration = Duration::from_millis(600);
    let task = case.publish(1).await.remove(0).0;
    let mut delivery = case.fetch_one().await;
    for deliveries in 2..=3 {
        let given_back = Instant::now();
        case.link.nak(&delivery.ack, DELAY).await.unwrap();
        delivery = case.fetch_one().await;
        let waited = given_back.elapsed();
        assert!(waited >= DELAY - Duration::from_millis(50), "{waited:?}");
        assert!(waited < Duration::from_secs(10), "{waited:?}: the delay, not the ack wait");
        assert_eq!((delivery.deliveries, delivery.task.as_ref().unwrap()), (deliveries, &task));
    }
    case.link.ack(&delivery.ack).await.unwrap();
    case.nothing_comes(SHORT).await;
}

pub(crate) async fn a_task_given_back_at_once_comes_at_once(case: &Case) {
    case.publish(1).await;
    let first = case.fetch_one().await;
    let given_back = Instant::now();
    case.link.nak(&first.ack, Duration::ZERO).await.unwrap();
    let second = case.fetch_one().await;
    assert!(given_back.elapsed() < Duration::from_secs(10), "{:?}", given_back.elapsed());
    assert_eq!(second.deliveries, 2);
}

pub(crate) async fn others_are_delivered_during_a_delay(case: &Case) {
    let published = case.publish(3).await;
    let first = case.fetch_one().await;
    case.link.nak(&first.ack, Duration::from_secs(600)).await.unwrap();
    let others = tasks_of(&case.fetch(2).await);
    assert_eq!(others, [published[1].0.clone(), published[2].0.clone()]);
    case.nothing_comes(SHORT).await;
    let position = std::slice::from_ref(&published[0].1);
    assert_eq!(case.tasks.gone(&case.pool, position).await.unwrap(), [false], "it waits, and is not gone");
}
