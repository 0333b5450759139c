//! The worker's link and the pools' queues: priorities, redelivery, heartbeats, reports, dead letters, jobs.

use std::time::{Duration, Instant};

use stepmill_nats::subject::LogWriter;
use stepmill_nats::{Jobs, Log, NatsWorkerLink, Start, StreamOptions, TaskMessage, TaskQueues};
use stepmill_protocol::codec::{pack, unpack};
use stepmill_protocol::link::{Delivery, WorkerLink};
use stepmill_protocol::problem::{Problem, Standard};
use stepmill_protocol::{
    AttemptNo, CommandId, DeadLetter, Event, LogRecord, PartitionNo, Pass, Payload, Priority, StepKind, StepPath, Task,
    TaskToken, Visit,
};

use crate::support::{Fixture, connect, fixture_with, namespace, pool, run, workflow};

const SOON: Duration = Duration::from_secs(5);

fn task(n: u128, priority: Priority) -> TaskMessage {
    let id = CommandId { run: run(n), visit: Visit(1), pass: Pass(0), dispatch: 1 };
    let kind = StepKind::new("echo").unwrap();
    let body = Task {
        id,
        namespace: namespace(),
        workflow: workflow(),
        partition: PartitionNo(1),
        path: StepPath("/do/0/a".into()),
        attempt: AttemptNo(1),
        token: TaskToken([1; 16]),
        kind: kind.clone(),
        pool: pool(),
        priority,
        input: Payload::Inline(serde_json::json!({"n": n.to_string()})),
        deadline: None,
        retry: None,
        secrets: None,
    };
    TaskMessage { id, pool: pool(), priority, kind, again: false, payload: pack(&body).unwrap().into() }
}

fn number(delivery: &Delivery) -> u128 {
    delivery.task.as_ref().unwrap().run().0.as_u128()
}

struct Work {
    f: Fixture,
    queues: TaskQueues,
    link: NatsWorkerLink,
}

async fn work(ack_wait: Duration) -> Work {
    let options =
        StreamOptions { ack_wait, tasks_dedup_window: Duration::from_millis(100), ..StreamOptions::default() };
    let f = fixture_with(options).await;
    let queues = TaskQueues::new(f.nats.clone(), f.options.clone());
    queues.ensure(&pool()).await.unwrap();
    let link = NatsWorkerLink::new(connect(&f.server).await);
    link.join(&pool(), &[]).await.unwrap();
    Work { f, queues, link }
}

impl Work {
    async fn publish(&self, tasks: Vec<TaskMessage>) -> Vec<u64> {
        self.queues.publish(tasks).await.into_iter().map(|r| r.unwrap().seq).collect()
    }

    async fn fetch_all(&self, max: usize, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            let some = self.link.fetch(&pool(), max.min(count - all.len()), SOON).await.unwrap();
            assert!(!some.is_empty(), "{} of {count} came", all.len());
            all.extend(some);
        }
        all
    }
}

#[tokio::test]
async fn a_task_published_twice_in_the_window_is_there_once() {
    let w = work(Duration::from_secs(30)).await;
    let results = w.queues.publish(vec![task(1, Priority::Normal), task(1, Priority::Normal)]).await;
    let stored: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!((stored[0].duplicate, stored[1].duplicate), (false, true));
    let got = w.fetch_all(10, 1).await;
    assert_eq!((number(&got[0]), got[0].deliveries, got[0].again), (1, 1, false));
    assert!(w.queues.exists(&pool(), stored[0].seq).await.unwrap());
    w.link.ack(&got[0].ack).await.unwrap();
    let begun = Instant::now();
    // Nobody confirms an ack.
    while w.queues.exists(&pool(), stored[0].seq).await.unwrap() {
        assert!(begun.elapsed() < SOON, "what was acked is still there");
    }
    assert!(w.link.fetch(&pool(), 10, Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn higher_priorities_come_first_and_nothing_twice() {
    for max in [1, 2, 3, 8, 64] {
        let w = work(Duration::from_secs(30)).await;
        let mut tasks = Vec::new();
        for n in 0..40 {
            tasks.extend([task(n, Priority::Low), task(100 + n, Priority::Normal), task(200 + n, Priority::High)]);
        }
        w.publish(tasks).await;
        let mut order = Vec::new();
        while order.len() < 120 {
            let got = w.link.fetch(&pool(), max, SOON).await.unwrap();
            assert!(!got.is_empty() && got.len() <= max);
            for delivery in got {
                assert_eq!(delivery.deliveries, 1);
                order.push(number(&delivery));
                w.link.ack(&delivery.ack).await.unwrap();
            }
        }
        let mut once = order.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 120);
        // The first requests may fill up before the backlogs are known; from then on the order holds.
        let last_high = order.iter().rposition(|n| *n >= 200).unwrap();
        let low_before = order[..last_high].iter().filter(|n| **n < 100).count();
        assert!(low_before <= 4, "{low_before} low ones before the last high one at max {max}");
    }
}

#[tokio::test]
async fn each_priority_wakes_a_waiting_worker() {
    for max in [1, 2, 10] {
        let w = work(Duration::from_secs(30)).await;
        for (n, priority) in Priority::ALL.into_iter().cycle().take(9).enumerate() {
            let default = pool();
            let fetch = w.link.fetch(&default, max, SOON);
            let publish = w.publish(vec![task(n as u128, priority)]);
            let began = Instant::now();
            let (got, _) = tokio::join!(fetch, publish);
            let got = got.unwrap();
            assert_eq!((got.len(), number(&got[0]), got[0].deliveries), (1, n as u128, 1));
            assert!(began.elapsed() < Duration::from_secs(1), "max {max} {priority:?}: {:?}", began.elapsed());
            w.link.ack(&got[0].ack).await.unwrap();
        }
    }
}

#[tokio::test]
async fn many_tasks_are_spread_over_workers_without_loss() {
    let w = work(Duration::from_secs(30)).await;
    let other = NatsWorkerLink::new(connect(&w.f.server).await);
    w.publish((0..2000).map(|n| task(n, Priority::Normal)).collect()).await;
    let drain = async |link: &NatsWorkerLink| {
        let mut got = Vec::new();
        loop {
            let some = link.fetch(&pool(), 64, Duration::from_millis(300)).await.unwrap();
            if some.is_empty() {
                return got;
            }
            for delivery in some {
                assert_eq!(delivery.deliveries, 1);
                link.ack(&delivery.ack).await.unwrap();
                got.push(number(&delivery));
            }
        }
    };
    let pool = pool();
    let (mine, theirs) = tokio::join!(drain(&w.link), drain(&other));
    assert!(!mine.is_empty() && !theirs.is_empty());
    let mut all = [mine, theirs].concat();
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<u128>>());
    assert_eq!(w.queues.state(&pool).await.unwrap().unwrap().messages, 0);
}

#[tokio::test]
async fn a_task_without_signs_of_life_is_delivered_again() {
    let w = work(Duration::from_millis(300)).await;
    w.publish(vec![task(1, Priority::Normal)]).await;
    let first = w.fetch_all(4, 1).await;
    let again = w.fetch_all(4, 1).await;
    assert_eq!((first[0].deliveries, again[0].deliveries), (1, 2));
}

#[tokio::test]
async fn a_heartbeat_keeps_a_task() {
    let w = work(Duration::from_millis(500)).await;
    w.publish(vec![task(1, Priority::Normal)]).await;
    let got = w.fetch_all(4, 1).await;
    let mut heartbeat = w.link.heartbeat(&pool()).await.unwrap();
    assert_eq!(heartbeat.ack_wait(), Duration::from_millis(500));
    let acks = [got[0].ack.clone()];
    let until = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < until {
        heartbeat.progress(&acks).await;
        assert!(w.link.fetch(&pool(), 4, Duration::from_millis(100)).await.unwrap().is_empty());
    }
    let again = w.fetch_all(4, 1).await;
    assert_eq!(again[0].deliveries, 2);
}

#[tokio::test]
async fn a_negative_ack_delays() {
    let w = work(Duration::from_secs(30)).await;
    w.publish(vec![task(1, Priority::Normal)]).await;
    let got = w.fetch_all(4, 1).await;
    let began = Instant::now();
    w.link.nak(&got[0].ack, Duration::from_millis(400)).await.unwrap();
    assert_eq!(w.fetch_all(4, 1).await[0].deliveries, 2);
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_worker_that_stops_fetching_leaves_tasks_to_others() {
    let w = work(Duration::from_secs(30)).await;
    assert!(w.link.fetch(&pool(), 10, Duration::from_millis(20)).await.unwrap().is_empty());
    // Its standing requests are still open; what they draw comes back well before the ack wait.
    w.publish((0..10).map(|n| task(n, Priority::Normal)).collect()).await;
    let other = NatsWorkerLink::new(connect(&w.f.server).await);
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let got = other.fetch(&pool(), 10 - seen.len(), SOON).await.unwrap();
        assert!(!got.is_empty());
        seen.extend(got.iter().map(number));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_handed_out_as_such() {
    let w = work(Duration::from_secs(30)).await;
    let broken = TaskMessage { payload: b"\xc1".to_vec().into(), again: true, ..task(1, Priority::High) };
    w.publish(vec![broken]).await;
    let got = w.fetch_all(4, 1).await;
    assert!(got[0].again);
    assert_eq!(got[0].task.as_ref().unwrap_err().bytes, b"\xc1");
}

#[tokio::test]
async fn a_deleted_queue_is_said_and_works_again_once_made() {
    let w = work(Duration::from_secs(30)).await;
    w.f.nats.request("$JS.API.STREAM.DELETE.SM_TASKS_default", "", SOON).await.unwrap();
    let error = w.link.fetch(&pool(), 4, SOON).await.unwrap_err();
    assert!(error.retryable, "{error}");
    let lost = w.queues.publish(vec![task(1, Priority::Normal)]).await;
    assert!(lost[0].as_ref().is_err_and(|e| e.is_retryable() && !e.may_have_happened()), "{:?}", lost[0]);
    assert_eq!(w.queues.state(&pool()).await.unwrap(), None);
    w.queues.ensure(&pool()).await.unwrap();
    w.publish(vec![task(1, Priority::Normal)]).await;
    assert_eq!(number(&w.fetch_all(4, 1).await[0]), 1);
}

#[tokio::test]
async fn fetching_goes_on_after_a_restart() {
    let mut w = work(Duration::from_millis(500)).await;
    assert!(w.link.fetch(&pool(), 4, Duration::from_millis(20)).await.unwrap().is_empty());
    w.f.server.restart().unwrap();
    let publish_until_stored = async {
        loop {
            if w.queues.publish(vec![task(1, Priority::Normal)]).await[0].is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, publish_until_stored).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        assert!(Instant::now() < deadline);
        // Errors are ordinary until the link has noticed that the server is back.
        let got = w.link.fetch(&pool(), 4, Duration::from_millis(500)).await.unwrap_or_default();
        if let Some(delivery) = got.first() {
            assert_eq!(number(delivery), 1);
            break;
        }
    }
}

#[tokio::test]
async fn a_report_lands_in_the_log_under_the_pools_name() {
    let w = work(Duration::from_secs(30)).await;
    let record = LogRecord { run: run(1), event: Event::Cancel { reason: "test".into() }, reply: None };
    w.link.report(&pool(), PartitionNo(1), record.clone()).await.unwrap();
    let mut reader = Log::new(w.f.nats.clone()).reader(PartitionNo(1), Start::Seq(1)).await.unwrap();
    let batch = reader.next_batch(10, 1 << 20).await.unwrap();
    assert_eq!(unpack::<LogRecord>(&batch[0].payload).unwrap(), record);
    assert_eq!(batch[0].subject.as_ref().unwrap().writer, LogWriter::Worker(pool()));
}

#[tokio::test]
async fn a_dead_letter_is_kept() {
    let w = work(Duration::from_secs(30)).await;
    let letter = DeadLetter {
        pool: Some(pool()),
        run: run(1),
        problem: Problem::standard(Standard::Runtime, "poison"),
        task: None,
        record: None,
        deliveries: 20,
    };
    w.link.bury(&pool(), letter.clone()).await.unwrap();
    assert_eq!(w.f.nats.bury(&DeadLetter { pool: None, ..letter }).await.unwrap().seq, 2);
}

#[tokio::test]
async fn jobs_are_taken_in_by_id_and_settled() {
    let w = work(Duration::from_secs(30)).await;
    let mut jobs = Jobs::new(w.f.nats.clone());
    let settler = jobs.settler();
    w.f.nats.request("sm.job.default.ticket", r#"{"a":1}"#, SOON).await.unwrap();
    let got = jobs.next_batch(10, SOON).await.unwrap();
    assert_eq!(got[0].target, Some((namespace(), workflow())));
    assert_eq!((&got[0].payload[..], got[0].deliveries), (br#"{"a":1}"#.as_slice(), 1));
    settler.nak(&got[0].ack, Duration::ZERO).await.unwrap();
    let got = jobs.next_batch(10, SOON).await.unwrap();
    assert_eq!(got[0].deliveries, 2);
    settler.ack(&got[0].ack).await.unwrap();
    assert!(jobs.next_batch(10, Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test]
async fn definitions_come_back_the_newest_of_each_version() {
    let w = work(Duration::from_secs(30)).await;
    assert!(w.f.nats.definitions().await.unwrap().is_empty());
    let versions = ["1.0.0", "1.0.1", "1.0.0"].map(|v| stepmill_protocol::Version(v.into()));
    for (n, version) in versions.iter().enumerate() {
        w.f.nats.store_definition(&namespace(), &workflow(), version, n.to_string()).await.unwrap();
    }
    let all = w.f.nats.definitions().await.unwrap();
    let found: Vec<_> = all.iter().map(|d| (d.version.0.as_str(), &d.payload[..])).collect();
    assert_eq!(found, [("1.0.1", b"1".as_slice()), ("1.0.0", b"2")]);
}
