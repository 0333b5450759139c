//! The index of the log by run. A row of its own for every message would touch a page of its own for every message, so the
//! newest part stays in memory and goes to the table sorted, some thousands at a time. After a restart it is read from the log.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use redb::{ReadOnlyTable, ReadTransaction};
use stepmill_protocol::{PartitionNo, RunId};

use super::row;
use crate::port::queue::LogMessage;
use crate::store::embedded::{HISTORY, LOG, Tables, key};

/// Messages that are indexed in memory before they go to the table.
const PENDING_MAX: usize = 8_192;

/// Messages that are not in the index's table yet.
#[derive(Default)]
pub(super) struct Pending(Mutex<State>);

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, Vec<u64>>,
    count: usize,
    last: u64,
    flushing: bool,
}

impl State {
    fn push(&mut self, run: RunId, seq: u64) {
        self.runs.entry(run).or_default().push(seq);
        self.count += 1;
        self.last = self.last.max(seq);
    }
}

impl Pending {
    pub(super) fn push(&self, messages: impl Iterator<Item = (RunId, u64)>) {
        let mut state = self.0.lock();
        messages.for_each(|(run, seq)| state.push(run, seq));
    }

    /// Finds what the table lacks after an opening.
    pub(super) fn reload(
        &self,
        log: &ReadOnlyTable<&'static [u8; 10], &'static [u8]>,
        partition: PartitionNo,
        indexed: u64,
    ) -> Result<(), redb::Error> {
        let mut state = self.0.lock();
        let (first, last) = (key::log(partition, indexed.saturating_add(1)), key::log(partition, u64::MAX));
        for entry in log.range::<&[u8; 10]>(&first..=&last)? {
            let (key, message) = entry?;
            if !row::is_snapshot(message.value()) {
                let (run, seq) = (row::run(message.value()), key::seq_of(key.value()));
                if !state.runs.get(&run).is_some_and(|known| known.contains(&seq)) {
                    state.push(run, seq);
                }
            }
        }
        Ok(())
    }

    /// Writes everything to the table, if it is worth it.
    pub(super) fn flush(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let mut state = self.0.lock();
        if state.count < PENDING_MAX {
            return Ok(());
        }
        for (run, seqs) in &state.runs {
            for seq in seqs {
                tables.history.insert(&key::history(*run, *seq), ())?;
            }
        }
        tables.counters.indexed = state.last;
        state.flushing = true;
        Ok(())
    }

    /// How the transaction of the flush ended. The messages of that transaction itself come later, so all that is here is stored.
    pub(super) fn settled(&self, stored: bool) {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.flushing) && stored {
            state.runs.clear();
            state.count = 0;
        }
    }

    /// Positions of a run after `after` that may not be in the table. To be asked before the table is.
    pub(super) fn of(&self, run: RunId, after: u64) -> BTreeSet<u64> {
        let state = self.0.lock();
        state.runs.get(&run).into_iter().flatten().copied().filter(|seq| *seq > after).collect()
    }
}

/// What the log holds of a run after a position, oldest first.
pub(super) fn read(
    transaction: &ReadTransaction,
    partition: PartitionNo,
    run: RunId,
    after: u64,
    limit: usize,
    pending: BTreeSet<u64>,
) -> Result<Vec<LogMessage>, redb::Error> {
    let index = transaction.open_table(HISTORY)?;
    let (first, last) = (key::history(run, after.saturating_add(1)), key::history(run, u64::MAX));
    let mut positions = pending;
    for entry in index.range::<&[u8; 24]>(&first..=&last)?.take(limit) {
        positions.insert(key::history_seq(entry?.0.value()));
    }
    let log = transaction.open_table(LOG)?;
    let mut messages = Vec::new();
    for seq in positions {
        if messages.len() == limit {
            break;
        }
        if let Some(found) = log.get(&key::log(partition, seq))? {
            messages.push(row::read(seq, found.value())?);
        }
    }
    Ok(messages)
}
