//! Tasks: published, fetched, acknowledged.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use stepmill_coordinator::port::queue::{Backlog, OutgoingTask};
use stepmill_coordinator::port::store::Published;
use stepmill_protocol::{PoolName, Priority};

use super::support::{Case, LONG, SHORT, outgoing, tasks_of, until};

pub(crate) async fn a_task_arrives_as_it_was_published(case: &Case) {
    let (plain, repeated) = (case.task(Priority::Normal), case.task(Priority::Normal));
    case.publish_these(vec![plain.clone()]).await;
    let again = OutgoingTask { message_id: repeated.id.to_string(), task: repeated.clone(), again: true };
    case.tasks.publish(vec![again]).await.remove(0).unwrap();
    let deliveries = case.fetch(2).await;
    assert_eq!(tasks_of(&deliveries), [plain, repeated]);
    let facts: Vec<(u64, bool)> = deliveries.iter().map(|d| (d.deliveries, d.again)).collect();
    assert_eq!(facts, [(1, false), (1, true)]);
    assert_ne!(deliveries[0].ack, deliveries[1].ack);
    assert!(case.tasks.publish(Vec::new()).await.is_empty());
}

pub(crate) async fn the_oldest_comes_first(case: &Case) {
    let mut published = case.publish(5).await;
    published.extend(case.publish(5).await);
    assert!(published.is_sorted_by(|(_, a), (_, b)| a.seq < b.seq && a.stream == b.stream));
    let tasks: Vec<_> = published.into_iter().map(|(task, _)| task).collect();
    let mut fetched = tasks_of(&case.fetch(3).await);
    fetched.extend(tasks_of(&case.fetch(7).await));
    assert_eq!(fetched, tasks);
}

pub(crate) async fn the_urgent_come_first(case: &Case) {
    let order = [Priority::Low, Priority::Normal, Priority::High, Priority::Low, Priority::High, Priority::Normal];
    case.publish_these(order.map(|p| case.task(p)).to_vec()).await;
    let mut fetched = Vec::new();
    for _ in 0..order.len() {
        fetched.push(case.fetch_one().await.task.unwrap().priority);
    }
    let mut sorted = order;
    sorted.sort();
    assert_eq!(fetched, sorted);
}

pub(crate) async fn never_more_than_asked_for(case: &Case) {
    case.publish(30).await;
    let mut left = 30;
    for max in [1, 2, 7, 1, 100] {
        let deliveries = case.link.fetch(&case.pool, max, LONG).await.unwrap();
        assert!(!deliveries.is_empty() && deliveries.len() <= max, "{} of {max}", deliveries.len());
        left -= deliveries.len();
    }
    if left > 0 {
        case.fetch(left).await;
    }
    case.nothing_comes(SHORT).await;
}

pub(crate) async fn a_fetch_waits_for_what_comes(case: &Case) {
    case.tasks.ensure(&case.pool).await.unwrap();
    case.link.join(&case.pool, &[]).await.unwrap();
    for priority in Priority::ALL {
        let task = case.task(priority);
        let begun = Instant::now();
        let fetch = case.link.fetch(&case.pool, 5, LONG);
        let (deliveries, _) = tokio::join!(fetch, case.publish_these(vec![task.clone()]));
        assert_eq!(tasks_of(&deliveries.unwrap()), [task]);
        assert!(begun.elapsed() < LONG / 2, "it came when it was published, not when the wait was over");
    }
}

pub(crate) async fn a_fetch_ends_without_tasks(case: &Case) {
    case.tasks.ensure(&case.pool).await.unwrap();
    case.link.join(&case.pool, &[]).await.unwrap();
    let begun = Instant::now();
    case.nothing_comes(SHORT).await;
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

pub(crate) async fn a_message_id_is_published_once(case: &Case) {
    let first = case.publish(1).await.remove(0);
    let repeated = case.tasks.publish(vec![outgoing(first.0.clone()), outgoing(first.0.clone())]).await;
    for again in repeated {
        assert_eq!(again.unwrap(), first.1, "the position of the first");
    }
    let delivery = case.fetch_one().await;
    case.link.ack(&delivery.ack).await.unwrap();
    case.nothing_comes(SHORT).await;
}

pub(crate) async fn pools_are_apart(case: &Case) {
    let other = PoolName::new(&format!("{}-b", case.pool)).unwrap();
    let (here, mut there) = (case.task(Priority::Normal), case.task(Priority::Normal));
    there.pool = other.clone();
    case.publish_these(vec![here.clone(), there.clone()]).await;
    assert_eq!(tasks_of(&case.link.fetch(&other, 10, LONG).await.unwrap()), [there]);
    assert_eq!(tasks_of(&case.fetch(1).await), [here]);
    case.nothing_comes(SHORT).await;
}

pub(crate) async fn what_is_acked_is_gone(case: &Case) {
    let published = case.publish(3).await;
    let positions: Vec<Published> = published.iter().map(|(_, p)| p.clone()).collect();
    assert_eq!(case.tasks.gone(&case.pool, &positions).await.unwrap(), [false; 3]);
    let deliveries = case.fetch(3).await;
    assert_eq!(case.tasks.gone(&case.pool, &positions).await.unwrap(), [false; 3], "a task under way is not gone");
    case.link.ack(&deliveries[1].ack).await.unwrap();
    case.link.ack(&deliveries[1].ack).await.unwrap();
    until("what was acked is gone", async || {
        case.tasks.gone(&case.pool, &positions).await.unwrap() == [false, true, false]
    })
    .await;
    let elsewhere = Published { stream: "another stream".into(), ..positions[0].clone() };
    let unknown = Published { seq: positions[2].seq + 1_000_000, ..positions[2].clone() };
    assert_eq!(case.tasks.gone(&case.pool, &[elsewhere, unknown]).await.unwrap(), [true, true]);
    assert!(case.tasks.gone(&case.pool, &[]).await.unwrap().is_empty());
}

pub(crate) async fn what_is_removed_is_not_delivered(case: &Case) {
    let published = case.publish(3).await;
    let removed = [published[0].1.clone(), published[2].1.clone()];
    case.tasks.remove(&case.pool, &removed).await;
    case.tasks.remove(&case.pool, &removed).await;
    until("they are gone", async || case.tasks.gone(&case.pool, &removed).await.unwrap() == [true, true]).await;
    assert_eq!(tasks_of(&case.fetch(1).await), [published[1].0.clone()]);
    case.nothing_comes(SHORT).await;
}

pub(crate) async fn each_task_goes_to_one_worker(case: &Case) {
    const TASKS: usize = 300;
    case.tasks.ensure(&case.pool).await.unwrap();
    let worker = |max: usize| async move {
        let mut seen = Vec::new();
        loop {
            let deliveries = case.link.fetch(&case.pool, max, Duration::from_millis(1_500)).await.unwrap();
            if deliveries.is_empty() {
                return seen;
            }
            for delivery in deliveries {
                seen.push(delivery.task.unwrap().id);
                case.link.ack(&delivery.ack).await.unwrap();
            }
        }
    };
    let (a, b, c, published) = tokio::join!(worker(1), worker(5), worker(64), case.publish(TASKS));
    let seen: Vec<_> = a.into_iter().chain(b).chain(c).collect();
    let expected: BTreeSet<_> = published.iter().map(|(task, _)| task.id).collect();
    assert_eq!(seen.len(), TASKS);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A sign that one fetch did not use goes to another.
pub(crate) async fn a_waiting_fetch_is_not_forgotten_by_another(case: &Case) {
    case.tasks.ensure(&case.pool).await.unwrap();
    case.link.join(&case.pool, &[]).await.unwrap();
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_millis(1), case.link.fetch(&case.pool, 1, LONG)).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    let begun = Instant::now();
    let pair = async { tokio::join!(case.link.fetch(&case.pool, 1, LONG), case.link.fetch(&case.pool, 1, LONG)) };
    let ((a, b), _) = tokio::join!(pair, case.publish(2));
    assert_eq!((a.unwrap().len(), b.unwrap().len()), (1, 1));
    assert!(begun.elapsed() < LONG / 2);
}

/// More tasks wait than a worker has slots, and each one done brings a new one, as runs do.
pub(crate) async fn a_backlog_is_worked_off_without_pauses(case: &Case) {
    const IN_FLIGHT: usize = 100;
    const SLOTS: usize = 32;
    const TASKS: usize = 1_000;
    const PAUSE_MAX: Duration = Duration::from_millis(500);
    case.tasks.ensure(&case.pool).await.unwrap();
    // Waits first, so that room has been handed out when the tasks come.
    case.nothing_comes(SHORT).await;
    let mut published = case.publish(IN_FLIGHT).await.len();
    let (mut seen, mut longest) = (0, Duration::ZERO);
    let mut running = VecDeque::new();
    while seen < TASKS {
        let begun = Instant::now();
        let deliveries = case.link.fetch(&case.pool, SLOTS - running.len(), LONG).await.unwrap();
        longest = longest.max(begun.elapsed());
        seen += deliveries.len();
        running.extend(deliveries);
        let done: Vec<_> =
            running.drain(..if running.len() == SLOTS { 1 + seen % 7 } else { running.len() / 3 }).collect();
        for delivery in &done {
            case.link.ack(&delivery.ack).await.unwrap();
        }
        let new = done.len().min(TASKS - published);
        published += new;
        case.publish(new).await;
    }
    for delivery in running {
        case.link.ack(&delivery.ack).await.unwrap();
    }
    assert!(longest < PAUSE_MAX, "a fetch waited for {longest:?} while tasks were there");
    case.nothing_comes(SHORT).await;
}

/// The backlog, once it is as it should be; the broker counts acks a moment later.
async fn backlog_is(case: &Case, waiting: u64, running: u64) -> Backlog {
    let seen = std::cell::Cell::new(Backlog::default());
    until("the backlog is as it should be", async || {
        seen.set(case.tasks.backlogs().await.unwrap()[&case.pool]);
        (seen.get().waiting, seen.get().running) == (waiting, running)
    })
    .await;
    seen.get()
}

pub(crate) async fn an_idle_pool_has_no_backlog(case: &Case) {
    assert!(!case.tasks.backlogs().await.unwrap().contains_key(&case.pool), "nobody has made its queue");
    case.tasks.ensure(&case.pool).await.unwrap();
    assert_eq!(case.tasks.backlogs().await.unwrap()[&case.pool], Backlog::default());
    case.publish(3).await;
    for delivery in case.fetch(3).await {
        case.link.ack(&delivery.ack).await.unwrap();
    }
    assert_eq!(backlog_is(case, 0, 0).await, Backlog::default());
}

pub(crate) async fn the_backlog_is_known_without_workers(case: &Case) {
    let begun = Instant::now();
    case.publish_these(vec![case.task(Priority::Low)]).await;
    until("it has waited for a while", async || {
        let backlog = case.tasks.backlogs().await.unwrap()[&case.pool];
        assert_eq!((backlog.waiting, backlog.running), (1, 0));
        assert!(backlog.oldest <= begun.elapsed() + Duration::from_millis(5), "{backlog:?}");
        backlog.oldest > SHORT
    })
    .await;
    let waited = begun.elapsed();
    // What came first counts, whatever its priority.
    case.publish_these(vec![case.task(Priority::High), case.task(Priority::Normal)]).await;
    assert!(backlog_is(case, 3, 0).await.oldest > SHORT);
    let urgent = case.fetch_one().await;
    assert!(backlog_is(case, 2, 1).await.oldest > SHORT);
    let others = case.fetch(2).await;
    assert_eq!(backlog_is(case, 0, 3).await.oldest, Duration::ZERO, "a task that runs waits no more");
    // The next one is young again.
    case.publish(1).await;
    assert!(backlog_is(case, 1, 3).await.oldest < waited + LONG);
    for delivery in others.into_iter().chain([urgent]) {
        assert!(delivery.stored_at.is_some(), "{delivery:?}");
        case.link.ack(&delivery.ack).await.unwrap();
    }
    backlog_is(case, 1, 0).await;
}
