//! The embedded adapters: every port over one database, in a file or in memory, for one process. This module owns the database;
//! `queue/embedded` keeps log, tasks and dead letters in it.
//!
//! ```text
//!  ports ──writes──▶ writer thread: all that wait ─▶ one transaction, one sync ─▶ memory (hot log, tasks) ─▶ answers
//!    └────reads───▶ memory, or a read transaction
//! ```
//!
//! Leases, heartbeats of coordinators and deliveries live in memory, since they end with the process; everything else is stored
//! before it is answered.

mod clock;
mod code;
mod commit;
mod counter;
mod definition;
mod failure;
mod file;
pub(crate) mod key;
mod lease;
mod read;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::link::{ApiCaller, WorkerLink};

pub(crate) use self::code::{read as read_record, write as write_record};
pub(crate) use self::counter::Counters;
pub(crate) use self::failure::Failure;
pub use self::failure::OpenError;
use self::file::{DatabaseFile, Place, Wrap};
use self::store::EmbeddedStore;
pub(crate) use self::table::{EVENT, HISTORY, LOG, MISC, TASK, Tables};
pub(crate) use self::writer::{Core, Keeper, Write};
use crate::port::bus::Bus;
use crate::port::event::Events;
use crate::port::life::Life;
use crate::port::queue::{Archive, Jobs, Log, Tasks};
use crate::port::store::Store;
use crate::queue::embedded as queue;

/// How to open the embedded system.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The database file; its folder is made. None: memory only, gone with the process.
    pub path: Option<PathBuf>,
    /// How long after the last sign of a worker its tasks are delivered again.
    pub ack_wait: Duration,
    /// How long a task's message id is remembered. Zero: not at all.
    pub dedup_window: Duration,
    /// How long the log keeps its messages (the newest of each partition stays).
    pub log_age_max: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            path: None,
            ack_wait: Duration::from_millis(2_500),
            dedup_window: Duration::from_secs(120),
            log_age_max: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

/// All ports over one database. The file is closed when this and every port taken from it are dropped.
pub struct Embedded {
    store: Arc<EmbeddedStore>,
    log: Arc<queue::EmbeddedLog>,
    tasks: Arc<queue::EmbeddedTasks>,
    events: Arc<queue::EmbeddedEvents>,
    life: Arc<queue::EmbeddedLife>,
    archive: Arc<queue::EmbeddedArchive>,
    bus: Arc<queue::EmbeddedBus>,
    link: Arc<queue::EmbeddedLink>,
}

impl Embedded {
    /// Opens or makes the database and starts its writer. What a process that was killed had stored is all there, and its
    /// unfinished tasks are delivered again.
    ///
    /// # Errors
    /// [`OpenError`] when another process has the file, or it cannot be used.
    pub fn open(options: EmbeddedOptions) -> Result<Arc<Self>, OpenError> {
        Self::open_wrapped(options, Box::new(|backend| Box::new(backend)))
    }

    fn open_wrapped(options: EmbeddedOptions, wrap: Wrap) -> Result<Arc<Self>, OpenError> {
        let place = options.path.clone().map_or(Place::Memory, Place::File);
        let path = options.path.clone().unwrap_or_default();
        let unusable = |failure: Failure| OpenError::Unusable { path: path.clone(), reason: failure.to_string() };
        let file = DatabaseFile::open(place, wrap)?;
        let identity = file.read(read::identity).map_err(unusable)?;
        let hot = Arc::new(queue::HotLog::new(options.log_age_max));
        let board = Arc::new(queue::Board::new(options.ack_wait));
        let keepers: Vec<Arc<dyn Keeper>> = vec![Arc::clone(&hot) as _, Arc::clone(&board) as _];
        let core = Arc::new(Core::start(file, keepers).map_err(unusable)?);

        let log = Arc::new(queue::EmbeddedLog::new(Arc::clone(&core), hot, identity.clone()));
        let tasks =
            Arc::new(queue::EmbeddedTasks::new(Arc::clone(&core), Arc::clone(&board), identity, options.dedup_window));
        let events = Arc::new(queue::EmbeddedEvents::new(Arc::clone(&core), options.log_age_max.into()));
        let archive = Arc::new(queue::EmbeddedArchive::new(Arc::clone(&core)));
        let bus = Arc::new(queue::EmbeddedBus::default());
        let link = Arc::new(queue::EmbeddedLink {
            core: Arc::clone(&core),
            board,
            log: Arc::clone(&log),
            archive: Arc::clone(&archive),
            bus: Arc::clone(&bus),
        });
        let (store, life) = (Arc::new(EmbeddedStore::new(core)), Arc::default());
        Ok(Arc::new(Self { store, log, tasks, events, life, archive, bus, link }))
    }

    /// The state of runs.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as _
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.log) as _
    }

    /// The task queues, as coordinators see them.
    #[must_use]
    pub fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.tasks) as _
    }

    /// Jobs submitted by publishing: none ever come, since a process that can reach this one calls its API.
    #[must_use]
    pub fn jobs(&self) -> Arc<dyn Jobs> {
        Arc::new(queue::NoJobs)
    }

    /// CloudEvents.
    #[must_use]
    pub fn events(&self) -> Arc<dyn Events> {
        Arc::clone(&self.events) as _
    }

    /// Life-cycle events.
    #[must_use]
    pub fn life(&self) -> Arc<dyn Life> {
        Arc::clone(&self.life) as _
    }

    /// Definitions and dead letters.
    #[must_use]
    pub fn archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.archive) as _
    }

    /// Dead letters, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`crate::port::queue::QueueError`] when the database cannot be read.
    pub async fn dead_letters(
        &self,
        limit: usize,
    ) -> Result<Vec<stepmill_protocol::DeadLetter>, crate::port::queue::QueueError> {
        self.archive.dead_letters(limit).await
    }

    /// Short-lived messages.
    #[must_use]
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.bus) as _
    }

    /// What a worker in this process needs.
    #[must_use]
    pub fn worker_link(&self) -> Arc<dyn WorkerLink> {
        Arc::clone(&self.link) as _
    }

    /// What a client in this process needs.
    #[must_use]
    pub fn api_caller(&self) -> Arc<dyn ApiCaller> {
        Arc::clone(&self.bus) as _
    }
}
