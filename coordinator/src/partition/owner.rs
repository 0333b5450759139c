//! The owner's state and its loop: one thing after the other, never two at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_protocol::{CommandId, PartitionNo, PoolName, RunId, TimerId, limit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::OwnerError;
use super::act::{Acts, NotNow};
use super::ask::{PendingAsk, Request, Watchers};
use super::cache::Cache;
use super::hold::Holds;
use super::listen::Listens;
use super::outbox::Outbox;
use super::poison::{Caution, Known};
use super::tell::Tales;
use super::timers::Timers;
use crate::port::queue::{LogReader, QueueError};
use crate::port::store::{Cursor, Lease, Published, Suspicion, ToldKey};
use crate::shared::Shared;

/// Index entries of finished runs looked at per sweep.
const TRIMMED_AT_A_TIME: usize = 1_000;

/// What the owner's own side tasks tell it. Bounded by what it has under way: published tasks, due timers, questions.
pub(super) enum Inner {
    /// The relay's results.
    Relayed(PoolName, Vec<(CommandId, Result<Published, QueueError>)>),
    /// Due timers that did not reach the log.
    TimersLate(Vec<(RunId, TimerId)>),
    /// What the log held when these questions came.
    Tail(Vec<PendingAsk>, Result<u64, QueueError>),
    /// Dispatches whose message is gone, and what the log held after that was seen.
    Gone(Vec<CommandId>, u64),
    /// Records of events are in the log, the last of them there.
    EventsAppended(u64),
    /// These life-cycle events were told.
    Told(Vec<ToldKey>),
    /// An action cannot be carried out now.
    NotNow(CommandId, NotNow),
    /// A dispatch that could not be published or carried out has waited.
    Rested(CommandId),
    /// The sweep is over.
    Swept,
}

/// The owner of one partition.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: PartitionNo,
    pub(super) lease: Lease,
    pub(super) cursor: Cursor,
    pub(super) cache: Cache,
    pub(super) outbox: Outbox,
    /// Actions of the system that are under way.
    pub(super) acts: Acts,
    /// What is held back.
    pub(super) holds: Holds,
    pub(super) timers: Timers,
    pub(super) watchers: Watchers,
    /// Life-cycle events on their way.
    pub(super) tales: Tales,
    /// Runs that listen for events.
    pub(super) listens: Listens,
    /// Questions that wait until the cursor has reached a position.
    pub(super) asks: Vec<(u64, PendingAsk)>,
    /// Dispatches seen to be gone that are reported lost if still open when the cursor has reached a position.
    pub(super) gone: Vec<(u64, Vec<CommandId>)>,
    /// While folding again from the log: up to which position a run's snapshot already holds everything.
    pub(super) skip: BTreeMap<RunId, u64>,
    /// Nothing is published or fired before the cursor has reached this position.
    pub(super) quiet_until: Option<u64>,
    /// Runs that want another turn, with the number of it.
    pub(super) turns: BTreeMap<RunId, u64>,
    /// The log lost its end: every live run is to be copied into it when all it holds is folded.
    pub(super) snapshot_all: bool,
    /// Runs whose last copy in the log is too far back.
    pub(super) long: BTreeSet<RunId>,
    /// How far the present look at all live runs has come, and when the next begins.
    pub(super) passed: Option<RunId>,
    pub(super) next_pass: Instant,
    pub(super) caution: Caution,
    pub(super) sweeping: bool,
    /// How many messages the sweeps so far have passed.
    pub(super) swept: usize,
    pub(super) inner: mpsc::UnboundedSender<Inner>,
    inbox: mpsc::UnboundedReceiver<Inner>,
}

impl Owner {
    pub(super) fn new(shared: Arc<Shared>, partition: PartitionNo, lease: Lease) -> Self {
        let (inner, inbox) = mpsc::unbounded_channel();
        let room = (limit::TASKS_PUBLISHED_MAX / usize::from(shared.partitions.max(1))).max(1);
        Self {
            cache: Cache::new(shared.config.cached_runs_max),
            shared,
            partition,
            lease,
            cursor: Cursor::default(),
            outbox: Outbox::new(room),
            acts: Acts::default(),
            holds: Holds::default(),
            timers: Timers::default(),
            watchers: Watchers::default(),
            tales: Tales::default(),
            listens: Listens::default(),
            asks: Vec::new(),
            gone: Vec::new(),
            skip: BTreeMap::new(),
            quiet_until: None,
            turns: BTreeMap::new(),
            snapshot_all: false,
            long: BTreeSet::new(),
            passed: None,
            next_pass: Instant::now(),
            caution: Caution::None,
            sweeping: false,
            swept: 0,
            inner,
            inbox,
        }
    }

    /// Works until `stop` (Ok) or until something fails.
    pub(super) async fn serve(
        &mut self,
        reader: &mut dyn LogReader,
        requests: &mut mpsc::Receiver<Request>,
        poison: &mut Known,
        stop: &CancellationToken,
    ) -> Result<(), OwnerError> {
        let mut sweep = tokio::time::interval(self.shared.config.sweep_every);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.catch_up().await?;
        loop {
            let timer = self.next_timer();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                batch = reader.next(limit::FOLD_BATCH_MAX, limit::FOLD_BATCH_BYTES_MAX) => {
                    let batch = batch?;
                    self.fold_with_caution(batch, poison).await?;
                    self.catch_up().await?;
                }
                events = self.listens.next(), if self.quiet_until.is_none() => {
                    self.hear_events(events);
                }
                () = std::future::ready(()), if self.listens.can_go_on() => self.match_events().await?,
                Some(request) = requests.recv() => self.receive(request, requests).await?,
                Some(inner) = self.inbox.recv() => self.hear(inner).await?,
                () = sleep_for(timer) => self.fire_timers(),
                _ = sweep.tick() => self.tick().await?,
            }
        }
    }

    /// What is done every few seconds.
    async fn tick(&mut self) -> Result<(), OwnerError> {
        self.shared.vitals.turns(self.partition);
        self.shared.measures.held(self.partition, self.outbox.held());
        if self.quiet_until.is_some() {
            return Ok(());
        }
        self.sweep();
        self.save_positions().await?;
        self.save_mark().await?;
        self.look_for_holds().await?;
        self.forget_told().await?;
        self.look_for_old().await?;
        self.shared.ports.store.trim_indexes(self.partition, TRIMMED_AT_A_TIME).await?;
        Ok(())
    }

    async fn hear(&mut self, inner: Inner) -> Result<(), OwnerError> {
        match inner {
            Inner::Relayed(pool, results) => self.relayed(pool, results).await?,
            Inner::TimersLate(keys) => self.timers.put_back(&keys),
            Inner::Tail(asks, tail) => self.tail_known(asks, tail).await?,
            Inner::Gone(ids, tail) => {
                self.gone.push((tail, ids));
                self.report_gone();
            }
            Inner::EventsAppended(last) => self.events_appended(last),
            Inner::Told(keys) => self.told(keys),
            Inner::NotNow(id, why) => self.not_now(id, why).await?,
            Inner::Rested(id) => {
                self.outbox.rested(&id);
                self.publish().await?;
            }
            Inner::Swept => self.sweeping = false,
        }
        Ok(())
    }

    /// Folds a batch; after a takeover one event at a time, each noted, if earlier owners died over this place.
    async fn fold_with_caution(
        &mut self,
        batch: Vec<crate::port::queue::LogMessage>,
        poison: &mut Known,
    ) -> Result<(), OwnerError> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.caution {
            Caution::None => self.fold(batch, poison).await,
            Caution::Watchful => {
                self.fold(batch, poison).await?;
                self.trust().await
            }
            Caution::Single { last } => {
                for message in batch {
                    let tries = last.filter(|(seq, _)| *seq == message.seq).map_or(1, |(_, tries)| tries + 1);
                    let note = Suspicion { cursor: self.cursor.seq, tries, single: Some(message.seq) };
                    let store = &self.shared.ports.store;
                    store.note_suspicion(self.partition, &self.lease, Some(&note)).await?;
                    self.fold(vec![message], poison).await?;
                }
                self.trust().await
            }
        }
    }

    async fn trust(&mut self) -> Result<(), OwnerError> {
        self.caution = Caution::None;
        self.shared.ports.store.note_suspicion(self.partition, &self.lease, None).await?;
        Ok(())
    }

    fn next_timer(&self) -> Option<Duration> {
        if self.quiet_until.is_some() {
            return None;
        }
        let due = self.timers.next()?;
        Some(due.since(self.shared.clock.now()).into())
    }

    /// Now, for deadlines that never leave this process.
    pub(super) fn instant() -> Instant {
        Instant::now()
    }
}

/// Sleeps for a while, or for ever.
async fn sleep_for(timer: Option<Duration>) {
    match timer {
        Some(d) => tokio::time::sleep(d).await,
        None => std::future::pending().await,
    }
}
