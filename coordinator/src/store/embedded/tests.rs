//! What only a failing disk, a short retention and a full index show.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redb::StorageBackend;
use redb::backends::FileBackend;
use stepmill_protocol::{Event, LogRecord, PartitionNo, PoolName, RunId};

use super::{Embedded, EmbeddedOptions};
use crate::port::queue::Start;
use crate::port::store::{Cursor, StoreError};

const P: PartitionNo = PartitionNo(1);

struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("stepmill-{}", uuid::Uuid::new_v4())))
    }

    fn options(&self) -> EmbeddedOptions {
        EmbeddedOptions { path: Some(self.0.join("data")), ..EmbeddedOptions::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A disk that is full while the switch is on.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn signal(run: RunId, name: &str) -> LogRecord {
    let event = Event::Signal { id: uuid::Uuid::nil(), name: name.into(), data: serde_json::Value::Null };
    LogRecord { run, event, reply: None }
}

fn run(n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(n))
}

async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_disk_fails_each_write_and_is_survived() {
    let folder = Folder::new();
    let full = Arc::new(AtomicBool::new(false));
    let wrap = {
        let full = Arc::clone(&full);
        Box::new(move |file| -> Box<dyn StorageBackend> { Box::new(Disk { file, full: Arc::clone(&full) }) })
    };
    let embedded = Embedded::open_wrapped(folder.options(), wrap).unwrap();
    let (log, store, link) = (embedded.log(), embedded.store(), embedded.worker_link());
    let pool = PoolName::new("p").unwrap();
    let mut reader = log.read(P, Start::After(0)).await.unwrap();
    let before = log.append(P, &[signal(run(1), "before")]).await.unwrap()[0];
    assert_eq!(reader.next(10, usize::MAX).await.unwrap().len(), 1);

    full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let failed = log.append(P, &[signal(run(1), "lost")]).await.unwrap_err();
        assert!(failed.retryable);
        assert!(failed.message.contains("free disk space") && failed.message.contains("data"), "{failed}");
        let lease = store.acquire(P, "a", 60_000, 0).await;
        assert!(matches!(lease, Err(StoreError::Unavailable(_))), "{lease:?}");
        assert!(store.cursor(P).await.is_err());
        assert!(link.report(&pool, P, signal(run(1), "lost")).await.is_err_and(|e| e.retryable && e.may_have_happened));
        // Everything that waits gets its answer.
        let many = (0..50).map(|_| log.append(P, std::slice::from_ref(SIGNAL.get_or_init(|| signal(run(2), "x")))));
        assert!(futures::future::join_all(many).await.iter().all(Result::is_err));
    }

    full.store(false, Ordering::SeqCst);
    assert_eq!(store.cursor(P).await.unwrap(), None::<Cursor>, "a read alone opens it again");
    let after = log.append(P, &[signal(run(1), "after")]).await.unwrap()[0];
    assert!(after > before, "no position is used twice");
    // The reader goes on, with whatever of the failed writes is there all the same.
    until("the last one is read", async || {
        reader.next(10, usize::MAX).await.unwrap().last().is_some_and(|message| message.seq == after)
    })
    .await;
    assert_eq!(log.tail(P).await.unwrap(), after);
    store.acquire(P, "b", 60_000, 0).await.unwrap().expect("a failed acquisition holds nothing");
}

static SIGNAL: std::sync::OnceLock<LogRecord> = std::sync::OnceLock::new();

#[tokio::test]
async fn old_messages_go_but_the_last_one_stays() {
    let folder = Folder::new();
    let options = EmbeddedOptions { log_age_max: Duration::from_millis(1), ..folder.options() };
    let embedded = Embedded::open(options).unwrap();
    let log = embedded.log();
    let idle = log.append(PartitionNo(7), &[signal(run(7), "idle")]).await.unwrap()[0];
    let many: Vec<LogRecord> = (0..600).map(|_| signal(run(1), "old")).collect();
    let old = log.append(P, &many).await.unwrap();
    let mut last = 0;
    until("old messages are gone", async || {
        last = log.append(P, &[signal(run(1), "new")]).await.unwrap()[0];
        log.time_at(P, old[599]).await.unwrap().is_none()
    })
    .await;
    assert_eq!(log.tail(P).await.unwrap(), last);
    assert!(log.time_at(P, last).await.unwrap().is_some());
    assert_eq!(log.first().await.unwrap(), idle, "the only message of a partition stays");
    assert!(log.history(P, run(1), 0, 1_000).await.unwrap().iter().all(|m| m.seq > old[599]));
}

#[tokio::test]
async fn the_history_is_whole_before_during_and_after_its_index_is_written() {
    let folder = Folder::new();
    let embedded = Embedded::open(folder.options()).unwrap();
    let log = embedded.log();
    let mut expected = vec![Vec::new(); 3];
    for _ in 0..30 {
        let records: Vec<LogRecord> = (0..600).map(|n| signal(run(n % 3), "x")).collect();
        for (n, seq) in log.append(P, &records).await.unwrap().into_iter().enumerate() {
            expected[n % 3].push(seq);
        }
        let found = log.history(P, run(1), 0, usize::MAX).await.unwrap();
        assert!(found.iter().map(|m| m.seq).eq(expected[1].iter().copied()));
    }
    drop((log, embedded));
    let log = Embedded::open(folder.options()).unwrap().log();
    for (n, expected) in expected.iter().enumerate() {
        let found = log.history(P, run(n as u128), 0, usize::MAX).await.unwrap();
        assert!(found.iter().map(|m| m.seq).eq(expected.iter().copied()), "{n}");
    }
    let (middle, end) = (expected[0][3_000], &expected[0][3_001..3_011]);
    let page = log.history(P, run(0), middle, 10).await.unwrap();
    assert!(page.iter().map(|m| m.seq).eq(end.iter().copied()));
}
