//! The newest messages of each partition in memory, handed to readers as soon as they are stored; and the part of the history's
//! index that is not in its table yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redb::ReadTransaction;
use stepmill_protocol::{Millis, PartitionNo, Timestamp};
use tokio::sync::Notify;

use super::history::Pending;
use super::retain::Retention;
use super::row::Entry;
use crate::port::queue::{LogMessage, Source};
use crate::store::embedded::{Counters, Keeper, LOG, Tables, key};

/// Messages of one partition in memory.
const ENTRIES_MAX: usize = 2_048;
/// Bytes of them, encoded.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// The newest messages of all partitions.
pub(crate) struct HotLog {
    lanes: RwLock<BTreeMap<PartitionNo, Arc<Lane>>>,
    pub(super) pending: Pending,
    retention: Retention,
}

/// The newest messages of one partition.
#[derive(Default)]
pub(super) struct Lane {
    end: Mutex<End>,
    pub(super) grown: Notify,
}

#[derive(Default)]
struct End {
    /// All messages after this one are in `entries`.
    floor: u64,
    tail: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// What the memory has for a reader.
pub(super) enum Hot {
    /// The next messages; none: the reader is at the end.
    Messages(Vec<LogMessage>),
    /// The next message is too old; it is in the table.
    Cold,
}

impl HotLog {
    pub(crate) fn new(age_max: Duration) -> Self {
        Self { lanes: RwLock::default(), pending: Pending::default(), retention: Retention::new(Millis::from(age_max)) }
    }

    pub(super) fn lane(&self, partition: PartitionNo) -> Arc<Lane> {
        if let Some(lane) = self.lanes.read().get(&partition) {
            return Arc::clone(lane);
        }
        Arc::clone(self.lanes.write().entry(partition).or_default())
    }

    /// Takes over messages that were just stored.
    pub(super) fn push(&self, partition: PartitionNo, entries: Vec<Entry>) {
        self.pending.push(entries.iter().filter(|e| e.source != Source::Snapshot).map(|e| (e.record.run, e.seq)));
        let lane = self.lane(partition);
        lane.end.lock().push(entries);
        lane.grown.notify_waiters();
    }
}

impl Lane {
    pub(super) fn tail(&self) -> u64 {
        self.end.lock().tail
    }

    /// All messages after this one are in memory.
    pub(super) fn floor(&self) -> u64 {
        self.end.lock().floor
    }

    /// What comes after `after`, up to the limits; one message at least if there is one.
    pub(super) fn after(&self, after: u64, max: usize, max_bytes: usize) -> Hot {
        let end = self.end.lock();
        if after < end.floor {
            return Hot::Cold;
        }
        let first = end.entries.partition_point(|e| e.seq <= after);
        let mut bytes = 0_usize;
        let mut messages = Vec::new();
        for entry in end.entries.range(first..).take(max.max(1)) {
            bytes = bytes.saturating_add(entry.bytes);
            if bytes > max_bytes && !messages.is_empty() {
                break;
            }
            messages.push(entry.message());
        }
        Hot::Messages(messages)
    }
}

impl End {
    fn push(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.tail = entry.seq;
            self.bytes += entry.bytes;
            self.entries.push_back(entry);
        }
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(old) = self.entries.pop_front() else { break };
            self.bytes -= old.bytes;
            self.floor = old.seq;
        }
    }
}

impl Keeper for HotLog {
    fn reload(&self, read: &ReadTransaction, counters: &Counters) -> Result<(), redb::Error> {
        let table = read.open_table(LOG)?;
        let mut next = Some(PartitionNo(0));
        while let Some(from) = next {
            let Some(first) = table.range::<&[u8; 10]>(&key::log(from, 0)..)?.next().transpose()? else { break };
            let partition = key::partition_of(first.0.value());
            let lane = self.lane(partition);
            if let Some(last) = table.range::<&[u8; 10]>(..=&key::log(partition, u64::MAX))?.next_back().transpose()? {
                let tail = key::seq_of(last.0.value());
                *lane.end.lock() = End { floor: tail, tail, ..End::default() };
            }
            lane.grown.notify_waiters();
            self.pending.reload(&table, partition, counters.indexed)?;
            next = partition.0.checked_add(1).map(PartitionNo);
        }
        Ok(())
    }

    fn tidy(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.pending.flush(tables)?;
        self.retention.drop_old(tables)
    }

    fn settled(&self, stored: bool) {
        self.pending.settled(stored);
    }
}

/// The moment before which messages are too old.
pub(super) fn oldest(now: Timestamp, age_max: Millis) -> Timestamp {
    Timestamp(now.0.saturating_sub(age_max.0))
}
