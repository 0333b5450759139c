//! The one writer of the database: a thread that takes all writes that are waiting, applies them in one transaction, commits
//! once, then answers all of them (group commit).
//!
//! A write that finds its own condition not met writes nothing and says so in its answer; it does not fail the others. Only an
//! error of the database itself fails a whole transaction; then the file is closed and opened again with the next write, so the
//! process goes on as soon as the disk does.

use std::sync::Arc;

use redb::{Database, Durability, ReadTransaction};
use tokio::sync::{mpsc, oneshot};

use super::counter::Counters;
use super::failure::Failure;
use super::file::DatabaseFile;
use super::table::{self, Tables};
use super::{clock, code, key};

/// Writes that may wait for the writer; whoever comes later waits for a place.
const WAITING_MAX: usize = 16_384;
/// Writes in one transaction.
const BATCH_MAX: usize = 4_096;

/// One write.
pub(crate) trait Write: Send + 'static {
    /// What the caller gets.
    type Out: Send + 'static;

    /// Writes. An error is one of the database and fails the whole transaction.
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;

    /// The transaction is stored: tell whoever reads from memory, and give the answer.
    fn stored(self) -> Self::Out;

    /// The transaction failed.
    fn lost(self)
    where
        Self: Sized,
    {
    }
}

/// Whoever keeps in memory what the database holds.
pub(crate) trait Keeper: Send + Sync + 'static {
    /// The database was opened: bring memory in line with it.
    fn reload(&self, read: &ReadTransaction, counters: &Counters) -> Result<(), redb::Error>;

    /// Something of its own to write with a transaction, in small bites.
    fn tidy(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;

    /// How the transaction of the last [`Keeper::tidy`] ended.
    fn settled(&self, stored: bool);
}

/// A write and the place of its answer.
trait Job: Send {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;
    fn answer(self: Box<Self>, outcome: Result<(), Failure>);
}

struct Waiting<W: Write> {
    write: W,
    answer: oneshot::Sender<Result<W::Out, Failure>>,
}

impl<W: Write> Job for Waiting<W> {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.write.apply(tables)
    }

    fn answer(self: Box<Self>, outcome: Result<(), Failure>) {
        let Self { write, answer } = *self;
        let outcome = match outcome {
            Ok(()) => Ok(write.stored()),
            Err(failure) => {
                write.lost();
                Err(failure)
            }
        };
        // Nobody waits any more: the write is done all the same.
        drop(answer.send(outcome));
    }
}

/// The way to the writer, and to read transactions. When the last copy goes, the thread ends and the file is closed.
pub(crate) struct Core {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<std::thread::JoinHandle<()>>,
    file: Arc<DatabaseFile>,
}

impl Core {
    /// Starts the writer on an open file.
    pub(crate) fn start(file: DatabaseFile, keepers: Vec<Arc<dyn Keeper>>) -> Result<Self, Failure> {
        let file = Arc::new(file);
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let mut writer = Writer { file: Arc::clone(&file), keepers, counters: Counters::default() };
        writer.reload()?;
        let thread = std::thread::Builder::new()
            .name("stepmill-writer".into())
            .spawn(move || writer.run(waiting))
            .map_err(|e| Failure::database(file.name(), &redb::Error::Io(e)))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), file })
    }

    /// Writes; resolves when it is stored.
    pub(crate) async fn write<W: Write>(&self, write: W) -> Result<W::Out, Failure> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(Failure::closed)?;
        queue.send(Box::new(Waiting { write, answer })).await.map_err(|_| Failure::closed())?;
        answered.await.map_err(|_| Failure::closed())?
    }

    /// Reads a little, right here: some keys that are most likely in memory.
    pub(crate) async fn peek<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send,
    ) -> Result<T, Failure> {
        if !self.file.is_open() {
            self.write(Nothing).await?;
        }
        self.file.read(read)
    }

    /// Reads much, off the runtime's threads.
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        if !self.file.is_open() {
            self.write(Nothing).await?;
        }
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || file.read(read)).await.map_err(|_| Failure::closed())?
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the database's writer ended by a panic");
        }
    }
}

/// A write that only has the file opened again.
struct Nothing;

impl Write for Nothing {
    type Out = ();
    fn apply(&mut self, _: &mut Tables<'_>) -> Result<(), redb::Error> {
        Ok(())
    }
    fn stored(self) {}
}

struct Writer {
    file: Arc<DatabaseFile>,
    keepers: Vec<Arc<dyn Keeper>>,
    counters: Counters,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while waiting.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            let outcome = self.transact(&mut batch);
            if let Err(failure) = &outcome {
                tracing::error!(writes = batch.len(), "{failure}");
            }
            for job in batch.drain(..) {
                job.answer(outcome.clone());
            }
        }
    }

    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        if !self.file.is_open() {
            self.file.reopen()?;
            self.reload()?;
        }
        let (keepers, counters) = (&self.keepers, &mut self.counters);
        let outcome = self.file.write(|database| store(database, counters, keepers, batch));
        for keeper in &self.keepers {
            keeper.settled(outcome.is_ok());
        }
        outcome
    }

    fn reload(&mut self) -> Result<(), Failure> {
        let (keepers, counters) = (&self.keepers, &mut self.counters);
        self.file.read(|read| {
            counters.resume(&stored_counters(read)?);
            keepers.iter().try_for_each(|keeper| keeper.reload(read, counters))
        })
    }
}

fn stored_counters(read: &ReadTransaction) -> Result<Counters, redb::Error> {
    let misc = table::read_misc(read)?;
    let row = misc.get(key::misc::COUNTERS)?;
    row.map(|row| code::read("the database's counters", row.value())).transpose().map(Option::unwrap_or_default)
}

fn store(
    database: &Database,
    counters: &mut Counters,
    keepers: &[Arc<dyn Keeper>],
    batch: &mut [Box<dyn Job>],
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let now = counters.tick(clock::now());
        let mut tables = Tables::open(&transaction, counters, now)?;
        for job in batch.iter_mut() {
            job.apply(&mut tables)?;
        }
        for keeper in keepers {
            keeper.tidy(&mut tables)?;
        }
        let row = code::write("the database's counters", tables.counters)?;
        tables.misc.insert(key::misc::COUNTERS, row.as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}
