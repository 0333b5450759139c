//! The numbers of a database that are never given out twice. They are stored with every transaction; a transaction that fails
//! uses its numbers up all the same, so a number means one thing for ever.

use serde::{Deserialize, Serialize};
use stepmill_protocol::Timestamp;

/// The last numbers given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Messages of the log, over all partitions.
    log: u64,
    /// Tasks, over all pools.
    task: u64,
    /// Dead letters.
    dead: u64,
    /// The time of the last transaction.
    at: Timestamp,
    /// All messages of the log up to this one are in the table `history`.
    pub(crate) indexed: u64,
    /// Events.
    #[serde(default)]
    event: u64,
}

impl Counters {
    /// The next position in the log.
    pub(crate) fn next_log(&mut self) -> u64 {
        self.log += 1;
        self.log
    }

    /// The next position of a task.
    pub(crate) fn next_task(&mut self) -> u64 {
        self.task += 1;
        self.task
    }

    /// The next number of a dead letter.
    pub(crate) fn next_dead(&mut self) -> u64 {
        self.dead += 1;
        self.dead
    }

    /// The next sequence of an event.
    pub(crate) fn next_event(&mut self) -> u64 {
        self.event += 1;
        self.event
    }

    /// The time of a new transaction: the clock's, but never before an earlier one.
    pub(crate) fn tick(&mut self, clock: Timestamp) -> Timestamp {
        self.at = self.at.max(clock);
        self.at
    }

    /// What was read from a database, and what was given out since: no number twice. `indexed` is the database's word.
    pub(crate) fn resume(&mut self, stored: &Self) {
        self.log = self.log.max(stored.log);
        self.task = self.task.max(stored.task);
        self.dead = self.dead.max(stored.dead);
        self.event = self.event.max(stored.event);
        self.at = self.at.max(stored.at);
        self.indexed = stored.indexed;
    }
}
