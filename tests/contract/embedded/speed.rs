//! How many steps a second the embedded adapters carry: real ports, a stand-in for engine and handlers. A step is one task
//! published and acknowledged, one report and its share of a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stepmill_coordinator::port::queue::{LogMessage, OutgoingTask, Start};
use stepmill_coordinator::port::store::{Commit, Cursor, OutboxEntry, RunIndex, RunWrite};
use stepmill_coordinator::store::embedded::{Embedded, EmbeddedOptions};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{
    CommandId, Event, Namespace, PartitionNo, Pass, PoolName, Priority, RunId, Task, Timestamp, ValueId, Visit,
    WorkflowName,
};
use tokio::sync::Semaphore;

use crate::queue::support::{LONG, outgoing, report, signal, task_of};

const PARTITIONS: u16 = 8;
const RUNS: u64 = 2_000;
const STEPS: u64 = 20;
const SLOTS: usize = 64;

fn pool() -> PoolName {
    PoolName::new("default").unwrap()
}

fn task(run: RunId, partition: PartitionNo, step: u64) -> Task {
    let id = CommandId { run, visit: Visit(step), pass: Pass(0), dispatch: 1 };
    task_of(id, partition, pool(), Priority::Normal)
}

/// Folds one partition: each record leads to the next step, and is committed with it.
async fn own(embedded: Arc<Embedded>, partition: PartitionNo, ended: Arc<AtomicU64>) {
    let (store, tasks) = (embedded.store(), embedded.tasks());
    let lease = store.acquire(partition, "a", 600_000, 1).await.unwrap().unwrap();
    let mut reader = embedded.log().read(partition, Start::After(0)).await.unwrap();
    let (mut cursor, mut published) = (Cursor::default(), Vec::new());
    loop {
        let messages = reader.next(512, usize::MAX).await.unwrap();
        let runs: Vec<RunId> = messages.iter().map(|m| m.run).collect();
        store.load(partition, &runs).await.unwrap();
        let to = Cursor { seq: messages.last().unwrap().seq, ..cursor.clone() };
        let mut commit = Commit {
            partition,
            lease: lease.clone(),
            from: std::mem::replace(&mut cursor, to.clone()),
            to,
            runs: Vec::new(),
            outbox_put: std::mem::take(&mut published),
            outbox_drop: Vec::new(),
            timers_put: Vec::new(),
            timers_drop: Vec::new(),
            told_put: None,
            told_drop: Vec::new(),
        };
        let out: Vec<OutgoingTask> = messages.iter().filter_map(|m| fold(&mut commit, m)).collect();
        let done = commit.runs.iter().filter(|w| w.index.state == RunState::Completed).count() as u64;
        store.commit(commit).await.unwrap();
        ended.fetch_add(done, Ordering::SeqCst);
        let ids: Vec<CommandId> = out.iter().map(|o| o.task.id).collect();
        for (id, answer) in ids.into_iter().zip(tasks.publish(out).await) {
            published.push(OutboxEntry {
                id,
                pool: pool(),
                priority: Priority::Normal,
                published: Some(answer.unwrap()),
            });
        }
    }
}

fn fold(commit: &mut Commit, message: &LogMessage) -> Option<OutgoingTask> {
    let (run, partition) = (message.run, commit.partition);
    let (next, before) = if let Event::Report(report) = &message.record.as_ref().unwrap().event {
        commit.outbox_put.retain(|entry| entry.id != report.id);
        commit.outbox_drop.push(report.id);
        (report.id.visit.0 + 1, Some(RunState::Running))
    } else {
        (1, None)
    };
    let state = if next > STEPS { RunState::Completed } else { RunState::Running };
    commit.runs.push(RunWrite {
        run,
        control: vec![7; 250],
        values_put: vec![(ValueId(next), vec![1; 40])],
        values_drop: vec![ValueId(next - 1)],
        values_clear: false,
        index: RunIndex {
            namespace: Namespace::new("default").unwrap(),
            workflow: WorkflowName::new("chain").unwrap(),
            state,
            submitted_at: Timestamp(1),
        },
        state_before: before,
        expire_ms: state.is_final().then_some(600_000),
    });
    let task = (state == RunState::Running).then(|| task(run, partition, next))?;
    commit.outbox_put.push(OutboxEntry { id: task.id, pool: pool(), priority: Priority::Normal, published: None });
    Some(outgoing(task))
}

/// Takes tasks, reports and acknowledges them, as many at a time as there are slots.
async fn work(embedded: Arc<Embedded>) {
    let (link, slots) = (embedded.worker_link(), Arc::new(Semaphore::new(SLOTS)));
    loop {
        let free = slots.available_permits().max(1);
        for delivery in link.fetch(&pool(), free, LONG).await.unwrap() {
            let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
            let link = Arc::clone(&link);
            tokio::spawn(async move {
                let task = delivery.task.unwrap();
                link.report(&task.pool, task.partition, report(&task)).await.unwrap();
                link.ack(&delivery.ack).await.unwrap();
                drop(slot);
            });
        }
    }
}

async fn measure(name: &str, options: EmbeddedOptions) {
    let embedded = Embedded::open(options).unwrap();
    let ended = Arc::new(AtomicU64::new(0));
    let mut running = tokio::task::JoinSet::new();
    for no in 0..PARTITIONS {
        running.spawn(own(Arc::clone(&embedded), PartitionNo(no), Arc::clone(&ended)));
    }
    for _ in 0..3 {
        running.spawn(work(Arc::clone(&embedded)));
    }
    let begun = Instant::now();
    for _ in 0..RUNS {
        let run = RunId(uuid::Uuid::now_v7());
        let log = embedded.log();
        tokio::spawn(async move { log.append(run.partition(PARTITIONS), &[signal(run, "submitted")]).await.unwrap() });
    }
    while ended.load(Ordering::SeqCst) < RUNS {
        assert!(begun.elapsed() < Duration::from_secs(300), "{ended:?} of {RUNS} runs ended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{name}: {:.0} steps/s", (RUNS * STEPS) as f64 / seconds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test --release -p stepmill-tests --test contract -- --ignored --nocapture speed"]
async fn steps_per_second() {
    let dir = tempfile::tempdir().unwrap();
    measure("memory", EmbeddedOptions::default()).await;
    measure("file", EmbeddedOptions { path: Some(dir.path().join("data")), ..EmbeddedOptions::default() }).await;
}
