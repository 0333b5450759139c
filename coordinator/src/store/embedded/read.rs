//! What is read from a read transaction.

use std::ops::Bound;

use redb::ReadTransaction;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{PartitionNo, RunId, TimerId, Timestamp, ValueId};

use super::commit::read_entry;
use super::key::misc;
use super::table::{self, RunHead};
use super::{clock, code, key};
use crate::port::store::{Cursor, ListQuery, OutboxEntry, StoredRun, Suspicion, ToldKey};

type Read<T> = Result<T, redb::Error>;

fn record<T: serde::de::DeserializeOwned>(read: &ReadTransaction, what: &str, key: &[u8]) -> Read<Option<T>> {
    let row = table::read_misc(read)?.get(key)?;
    row.map(|row| code::read(what, row.value())).transpose()
}

/// The database's identity.
pub(crate) fn identity(read: &ReadTransaction) -> Read<String> {
    Ok(record(read, "the identity", misc::IDENTITY)?.unwrap_or_default())
}

pub(crate) fn cursor(read: &ReadTransaction, partition: PartitionNo) -> Read<Option<Cursor>> {
    record(read, "a cursor", &misc::cursor(partition))
}

pub(crate) fn suspicion(read: &ReadTransaction, partition: PartitionNo) -> Read<Option<Suspicion>> {
    record(read, "a note", &misc::suspicion(partition))
}

/// Life-cycle events that may not have been told.
pub(crate) fn told(read: &ReadTransaction, partition: PartitionNo) -> Read<Vec<(ToldKey, Vec<u8>)>> {
    let first = misc::told_of(partition);
    let end = key::end_of(&first);
    let mut found = Vec::new();
    for row in table::read_misc(read)?.range::<&[u8]>(first.as_slice()..end.as_slice())? {
        let (key, told) = row?;
        found.push((misc::read_told(key.value()), told.value().to_vec()));
    }
    Ok(found)
}

pub(crate) fn runs(read: &ReadTransaction, partition: PartitionNo, runs: &[RunId]) -> Read<Vec<Option<StoredRun>>> {
    let table = read.open_table(table::RUN)?;
    let now = clock::now();
    let mut found = Vec::with_capacity(runs.len());
    for run in runs {
        let (first, last) = (key::run(partition, *run, 0), key::run(partition, *run, u64::MAX));
        let mut stored: Option<StoredRun> = None;
        for row in table.range::<&[u8; 26]>(&first..=&last)? {
            let (key, value) = row?;
            match (key::slot_of(key.value()), &mut stored) {
                (0, _) => {
                    let (head, control) = read_head(value.value())?;
                    if head.is_over(now) {
                        break;
                    }
                    stored = Some(StoredRun { control: control.to_vec(), values: Vec::new() });
                }
                (slot, Some(run)) => run.values.push((ValueId(slot), value.value().to_vec())),
                (_, None) => break,
            }
        }
        found.push(stored);
    }
    Ok(found)
}

fn read_head(row: &[u8]) -> Read<(RunHead, &[u8])> {
    RunHead::read(row).ok_or_else(|| redb::Error::Corrupted("a run's state is too short".into()))
}

pub(crate) fn value(read: &ReadTransaction, no: PartitionNo, run: RunId, value: ValueId) -> Read<Option<Vec<u8>>> {
    let table = read.open_table(table::RUN)?;
    let Some(control) = table.get(&key::run(no, run, 0))? else { return Ok(None) };
    if value.0 == 0 || read_head(control.value())?.0.is_over(clock::now()) {
        return Ok(None);
    }
    Ok(table.get(&key::run(no, run, value.0))?.map(|row| row.value().to_vec()))
}

pub(crate) fn outbox(read: &ReadTransaction, partition: PartitionNo) -> Read<Vec<OutboxEntry>> {
    let table = read.open_table(table::OUTBOX)?;
    let (mut first, mut last) = ([0; 34], [u8::MAX; 34]);
    first[..2].copy_from_slice(&partition.0.to_be_bytes());
    last[..2].copy_from_slice(&partition.0.to_be_bytes());
    let rows = table.range::<&[u8; 34]>(&first..=&last)?;
    rows.map(|row| row.map_err(redb::Error::from).and_then(|(k, v)| read_entry(k.value(), v.value()))).collect()
}

pub(crate) fn timers(read: &ReadTransaction, partition: PartitionNo) -> Read<Vec<(RunId, TimerId, Timestamp)>> {
    let table = read.open_table(table::TIMER)?;
    let (mut first, mut last) = ([0; 26], [u8::MAX; 26]);
    first[..2].copy_from_slice(&partition.0.to_be_bytes());
    last[..2].copy_from_slice(&partition.0.to_be_bytes());
    let mut timers = Vec::new();
    for row in table.range::<&[u8; 26]>(&first..=&last)? {
        let (key, at) = row?;
        let (run, timer) = key::timer_of(key.value());
        timers.push((run, timer, Timestamp(at.value())));
    }
    Ok(timers)
}

pub(crate) fn live_runs(
    read: &ReadTransaction,
    partition: PartitionNo,
    after: Option<RunId>,
    limit: usize,
) -> Read<Vec<RunId>> {
    let table = read.open_table(table::INDEX)?;
    let prefix = key::index::live_of(partition);
    let end = key::end_of(&prefix);
    let first = after.map_or_else(|| prefix.clone(), |run| key::index::live(partition, run));
    let bounds = (Bound::Excluded(first.as_slice()), Bound::Excluded(end.as_slice()));
    let mut runs = Vec::new();
    for row in table.range::<&[u8]>(bounds)?.take(limit) {
        let (key, _) = row?;
        runs.push(key::run_at(&key.value()[prefix.len()..]));
    }
    Ok(runs)
}

pub(crate) fn list(read: &ReadTransaction, no: PartitionNo, query: &ListQuery) -> Read<Vec<(Timestamp, RunId)>> {
    let table = read.open_table(table::INDEX)?;
    let mut found = Vec::new();
    for state in RunState::ALL.into_iter().filter(|s| query.state.is_none_or(|wanted| wanted == *s)) {
        let prefix = key::index::list(no, &query.namespace, query.workflow.as_ref(), state);
        let (first, end) = bounds(&prefix, query);
        if first >= end {
            continue;
        }
        for row in table.range::<&[u8]>(first.as_slice()..end.as_slice())?.rev().take(query.limit) {
            found.extend(key::index::read_row(row?.0.value()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(query.limit);
    Ok(found)
}

/// The first key of the list, and the first after it.
fn bounds(prefix: &[u8], query: &ListQuery) -> (Vec<u8>, Vec<u8>) {
    let at = |time: Timestamp| [prefix, &time.0.to_be_bytes()].concat();
    let first = query.from.map_or_else(|| prefix.to_vec(), at);
    let mut end = query.to.map_or_else(|| key::end_of(prefix), at);
    if let Some((time, run)) = query.after {
        end = end.min(key::index::row(prefix.to_vec(), time, run));
    }
    (first, end)
}
