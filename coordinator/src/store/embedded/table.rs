//! The tables of the database.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `misc` | one letter, then see `key.rs` | MessagePack |
//! | `run` | partition, run, slot (0: control state, else the value's number) | see [`RunHead`]; a value's bytes |
//! | `outbox` | partition, command | priority, pool, position |
//! | `timer` | partition, run, timer | its time |
//! | `index` | one letter, partition, see `key.rs` | mostly nothing |
//! | `log` | partition, sequence | see `queue/embedded/row.rs` |
//! | `history` | run, sequence | nothing |
//! | `event` | sequence | see `queue/embedded/events.rs` |
//! | `event_id` | identity of an event | its sequence |
//! | `task` | sequence | see `queue/embedded/publish.rs` |

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};
use stepmill_protocol::Timestamp;

use super::counter::Counters;
use super::key::eight;

pub(crate) const MISC: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("misc");
pub(crate) const RUN: TableDefinition<'_, &[u8; 26], &[u8]> = TableDefinition::new("run");
pub(crate) const OUTBOX: TableDefinition<'_, &[u8; 34], &[u8]> = TableDefinition::new("outbox");
pub(crate) const TIMER: TableDefinition<'_, &[u8; 26], u64> = TableDefinition::new("timer");
pub(crate) const INDEX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");
pub(crate) const LOG: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("log");
pub(crate) const HISTORY: TableDefinition<'_, &[u8; 24], ()> = TableDefinition::new("history");
pub(crate) const TASK: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("task");
pub(crate) const EVENT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("event");
pub(crate) const EVENT_ID: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("event_id");

/// A table that is read.
pub(crate) type Reading<K> = ReadOnlyTable<K, &'static [u8]>;

/// All tables, open in one write transaction, and the numbers that the transaction may draw.
pub(crate) struct Tables<'t> {
    pub(crate) misc: Table<'t, &'static [u8], &'static [u8]>,
    pub(crate) run: Table<'t, &'static [u8; 26], &'static [u8]>,
    pub(crate) outbox: Table<'t, &'static [u8; 34], &'static [u8]>,
    pub(crate) timer: Table<'t, &'static [u8; 26], u64>,
    pub(crate) index: Table<'t, &'static [u8], &'static [u8]>,
    pub(crate) log: Table<'t, &'static [u8; 10], &'static [u8]>,
    pub(crate) history: Table<'t, &'static [u8; 24], ()>,
    pub(crate) task: Table<'t, u64, &'static [u8]>,
    pub(crate) event: Table<'t, u64, &'static [u8]>,
    pub(crate) event_id: Table<'t, &'static [u8; 16], u64>,
    /// Numbers that are never given out twice.
    pub(crate) counters: &'t mut Counters,
    /// The time of this transaction; never before that of an earlier one.
    pub(crate) now: Timestamp,
}

impl<'t> Tables<'t> {
    /// Opens all tables; creates those that are missing.
    pub(crate) fn open(
        transaction: &'t WriteTransaction,
        counters: &'t mut Counters,
        now: Timestamp,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            misc: transaction.open_table(MISC)?,
            run: transaction.open_table(RUN)?,
            outbox: transaction.open_table(OUTBOX)?,
            timer: transaction.open_table(TIMER)?,
            index: transaction.open_table(INDEX)?,
            log: transaction.open_table(LOG)?,
            history: transaction.open_table(HISTORY)?,
            task: transaction.open_table(TASK)?,
            event: transaction.open_table(EVENT)?,
            event_id: transaction.open_table(EVENT_ID)?,
            counters,
            now,
        })
    }
}

/// Opens the table that nearly every read begins with.
pub(crate) fn read_misc(read: &ReadTransaction) -> Result<Reading<&'static [u8]>, redb::Error> {
    Ok(read.open_table(MISC)?)
}

/// What stands before a run's control state in slot 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunHead {
    /// The run is gone from this moment on; 0: it stays.
    pub(crate) expires: u64,
}

impl RunHead {
    /// Head and control state.
    pub(crate) fn write(self, control: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(8 + control.len());
        row.extend_from_slice(&self.expires.to_be_bytes());
        row.extend_from_slice(control);
        row
    }

    /// Reads what [`RunHead::write`] made.
    pub(crate) fn read(row: &[u8]) -> Option<(Self, &[u8])> {
        let (head, control) = row.split_at_checked(8)?;
        Some((Self { expires: u64::from_be_bytes(eight(head)) }, control))
    }

    /// Whether the run has left.
    pub(crate) fn is_over(self, now: Timestamp) -> bool {
        self.expires != 0 && self.expires <= now.0
    }
}
