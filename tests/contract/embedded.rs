//! The embedded adapters: the suites of their ports in memory and in a file, and what only a file can go through.

mod speed;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_coordinator::port::queue::Start;
use stepmill_coordinator::port::store::{Cursor, Store};
use stepmill_coordinator::store::embedded::{Embedded, EmbeddedOptions, OpenError};
use stepmill_protocol::{PoolName, Priority};

use crate::queue::support::{Case, new_run, next_of, outgoing, records, report, signal, snapshot, tasks_of};
use crate::queue::{Queues, Wanted};
use crate::store::support::{LONG_MS, P};

fn open(path: Option<PathBuf>, wanted: Wanted) -> Arc<Embedded> {
    let Wanted { ack_wait, dedup_window } = wanted;
    Embedded::open(EmbeddedOptions { path, ack_wait, dedup_window, ..EmbeddedOptions::default() }).unwrap()
}

fn queues(embedded: Arc<Embedded>) -> Queues {
    let letters = Arc::clone(&embedded);
    Queues {
        log: embedded.log(),
        tasks: embedded.tasks(),
        link: embedded.worker_link(),
        events: embedded.events(),
        archive: embedded.archive(),
        bus: embedded.bus(),
        caller: embedded.api_caller(),
        buried: Box::new(move || {
            let letters = Arc::clone(&letters);
            Box::pin(async move { letters.dead_letters(1_000).await.unwrap() })
        }),
        _keep: Box::new(embedded),
    }
}

fn case(path: &Path) -> Case {
    Case::new("file", queues(open(Some(path.into()), Wanted::default())))
}

#[tokio::test]
async fn the_store_keeps_the_contract_in_memory() {
    crate::store::all(async |_| -> Arc<dyn Store> { open(None, Wanted::default()).store() }).await;
}

#[tokio::test]
async fn the_store_keeps_the_contract_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let make = async |name| -> Arc<dyn Store> { open(Some(dir.path().join(name)), Wanted::default()).store() };
    crate::store::all(make).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_keep_the_contract_in_memory() {
    crate::queue::all(async |_, wanted| queues(open(None, wanted))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_keep_the_contract_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    crate::queue::all(async |name, wanted| queues(open(Some(dir.path().join(name)), wanted))).await;
}

#[tokio::test]
async fn everything_is_there_after_it_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep").join("data");
    let first = case(&path);
    let (run, partition) = (new_run(), first.partition);
    let mut written = first.append(run, 40).await;
    let tasks = first.publish_these([Priority::Low, Priority::High].map(|p| first.task(p)).to_vec()).await;
    let done = first.fetch_one().await;
    first.link.ack(&done.ack).await.unwrap();
    first.log.append(partition, &[snapshot(run, b"state")]).await.unwrap();
    first.link.report(&first.pool, partition, report(&tasks[0].0)).await.unwrap();
    written.extend([snapshot(run, b"state"), report(&tasks[0].0)]);
    let (identity, tail) = (first.log.identity().await.unwrap(), first.log.tail(partition).await.unwrap());
    let pool = first.pool.clone();
    drop(first);

    let mut again = case(&path);
    (again.partition, again.pool) = (partition, pool);
    assert_eq!(again.log.identity().await.unwrap(), identity);
    assert_eq!(again.log.tail(partition).await.unwrap(), tail);
    let mut reader = again.read(Start::After(0)).await;
    assert_eq!(records(next_of(&mut reader, 42).await), written);
    assert_eq!(again.log.history(partition, run, 0, 100).await.unwrap().len(), 40);
    assert_eq!(again.log.snapshots(partition).await.unwrap().len(), 1);
    // The log goes on where it was, and the reader goes on from the file to memory.
    let more = again.append(run, 2).await;
    assert_eq!(records(next_of(&mut reader, 2).await), more);
    assert!(again.log.tail(partition).await.unwrap() > tail);
    let delivery = again.fetch_one().await;
    assert!(delivery.deliveries >= 2, "it may have been delivered before: let the worker ask");
    assert_eq!(tasks_of(&[delivery]), [tasks[0].0.clone()]);
    let positions = [tasks[0].1.clone(), tasks[1].1.clone()];
    assert_eq!(again.tasks.gone(&again.pool, &positions).await.unwrap(), [false, true]);
    let newer = again.publish(1).await.remove(0).1;
    assert!(newer.seq > tasks[1].1.seq, "no position is used twice");
}

#[tokio::test]
async fn deliveries_are_counted_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = case(&path);
    first.publish(1).await;
    let pool = first.pool.clone();
    drop(first);
    let mut counted = Vec::new();
    for _ in 0..4 {
        let mut again = case(&path);
        again.pool.clone_from(&pool);
        counted.push(again.fetch_one().await.deliveries);
    }
    assert_eq!(counted, [2, 3, 4, 5]);
}

#[tokio::test]
async fn leases_end_with_the_process_and_epochs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let mut epochs = Vec::new();
    for owner in ["a", "b", "c"] {
        let store = open(Some(path.clone()), Wanted::default()).store();
        let lease = store.acquire(P, owner, LONG_MS, 0).await.unwrap().expect("the last process is gone");
        epochs.push(lease.epoch);
        assert_eq!(store.partitions(8 + epochs.len() as u16).await.unwrap(), 9);
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = open(Some(path.clone()), Wanted::default());
    // Another handle of the same process is as foreign to the lock as another process.
    let refused = Embedded::open(EmbeddedOptions { path: Some(path.clone()), ..EmbeddedOptions::default() });
    let refused = refused.err().expect("it is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().starts_with(&format!("another stepmill process uses {}", path.display())), "{refused}");
    drop(first);
    open(Some(path), Wanted::default());
}

#[test]
fn a_path_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "this is no database").unwrap();
    for path in [dir.path().to_path_buf(), file.join("below"), file] {
        let refused = Embedded::open(EmbeddedOptions { path: Some(path.clone()), ..EmbeddedOptions::default() });
        assert!(matches!(refused, Err(OpenError::Unusable { .. })), "{}", path.display());
    }
}

const CHILD_PATH: &str = "STEPMILL_TEST_EMBEDDED_PATH";

/// What the process does that [`nothing_answered_is_lost_by_a_kill`] kills. Prints what was answered.
#[tokio::test]
#[ignore = "a process for another test, which starts and kills it"]
async fn child_that_writes_until_it_is_killed() {
    let path = std::env::var_os(CHILD_PATH).expect("the parent says where");
    let embedded = open(Some(path.into()), Wanted::default());
    let (log, tasks, store) = (embedded.log(), embedded.tasks(), embedded.store());
    let case = Case::new("child", queues(embedded));
    let lease = store.acquire(P, "child", LONG_MS, 0).await.unwrap().unwrap();
    let mut cursor = store.cursor(P).await.unwrap().unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let mut task = case.task(Priority::Normal);
        task.pool = PoolName::new("child").unwrap();
        let seqs = log.append(P, &[signal(new_run(), "x")]).await.unwrap();
        println!("log {}", seqs[0]);
        let published = tasks.publish(vec![outgoing(task)]).await.remove(0).unwrap();
        println!("task {}", published.seq);
        let to = Cursor { seq: seqs[0], ..cursor.clone() };
        store.commit(crate::store::support::commit(&lease, &cursor, &to)).await.unwrap();
        println!("cursor {}", to.seq);
        cursor = to;
    }
}

#[tokio::test]
async fn nothing_answered_is_lost_by_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let (mut logged, mut published, mut cursor) = (Vec::new(), Vec::new(), 0_u64);
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["embedded::child_that_writes_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(CHILD_PATH, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // Killed in the middle of its work, then read to the end.
        while let Some(Ok(line)) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            let Some((word, Ok(number))) = words.first().zip(words.get(1).map(|n| n.parse::<u64>())) else { continue };
            match *word {
                "log" => logged.push(number),
                "task" => published.push(number),
                "cursor" => cursor = cursor.max(number),
                _ => continue,
            }
            seen += 1;
            if seen == 30 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 30 * round, "the child wrote {seen} times");

        let embedded = open(Some(path.clone()), Wanted::default());
        let mut reader = embedded.log().read(P, Start::After(0)).await.unwrap();
        let mut read = Vec::new();
        while read.last().is_none_or(|last| last < logged.last().unwrap()) {
            read.extend(reader.next(1_000, usize::MAX).await.unwrap().iter().map(|m| m.seq));
        }
        assert!(logged.iter().all(|seq| read.contains(seq)), "{logged:?} in {read:?}");
        assert!(embedded.store().cursor(P).await.unwrap().unwrap().seq >= cursor);
        let pool = PoolName::new("child").unwrap();
        let deliveries = embedded.worker_link().fetch(&pool, 10_000, Duration::from_secs(5)).await.unwrap();
        assert!(deliveries.len() >= published.len(), "{} of {}", deliveries.len(), published.len());
    }
}
