//! The writes of a partition: commit, note, clear, trim. Each compares what the caller believes before it writes anything.

use redb::ReadableTable;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{Namespace, PartitionNo, RunId, Timestamp, WorkflowName};

use super::lease::stored_lease;
use super::table::RunHead;
use super::{Tables, Write, key, read_record, write_record};
use crate::port::store::{Commit, Cursor, Lease, OutboxEntry, RunIndex, RunWrite, StoreError, Suspicion};

type Verdict = Result<(), StoreError>;

/// One atomic change of a partition.
pub(crate) struct CommitWrite {
    commit: Commit,
    verdict: Verdict,
}

impl CommitWrite {
    pub(crate) fn new(commit: Commit) -> Self {
        Self { commit, verdict: Ok(()) }
    }
}

impl Write for CommitWrite {
    type Out = Verdict;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.verdict = check(tables, &self.commit)?;
        if self.verdict.is_err() {
            return Ok(());
        }
        let partition = self.commit.partition;
        for run in &self.commit.runs {
            write_run(tables, partition, run)?;
        }
        for entry in &self.commit.outbox_put {
            tables.outbox.insert(&key::outbox(partition, &entry.id), write_entry(entry)?.as_slice())?;
        }
        for id in &self.commit.outbox_drop {
            tables.outbox.remove(&key::outbox(partition, id))?;
        }
        for (run, timer, at) in &self.commit.timers_put {
            tables.timer.insert(&key::timer(partition, *run, *timer), at.0)?;
        }
        for (run, timer) in &self.commit.timers_drop {
            tables.timer.remove(&key::timer(partition, *run, *timer))?;
        }
        if let Some((batch, told)) = &self.commit.told_put {
            tables.misc.insert(key::misc::told(partition, *batch).as_slice(), told.as_slice())?;
        }
        for batch in &self.commit.told_drop {
            tables.misc.remove(key::misc::told(partition, *batch).as_slice())?;
        }
        let cursor = write_record("a cursor", &self.commit.to)?;
        tables.misc.insert(key::misc::cursor(partition).as_slice(), cursor.as_slice())?;
        Ok(())
    }

    fn stored(self) -> Verdict {
        self.verdict
    }
}

fn check(tables: &Tables<'_>, commit: &Commit) -> Result<Verdict, redb::Error> {
    let holder = check_lease(tables, commit.partition, &commit.lease)?;
    if holder.is_err() {
        return Ok(holder);
    }
    let row = tables.misc.get(key::misc::cursor(commit.partition).as_slice())?;
    let stored: Cursor = row.map(|r| read_record("a cursor", r.value())).transpose()?.unwrap_or_default();
    let (from, is) = ((commit.from.incarnation, commit.from.seq), (stored.incarnation, stored.seq));
    if from == is {
        return Ok(Ok(()));
    }
    Ok(Err(StoreError::Stale(format!(
        "the cursor is at {} of incarnation {}, not at {} of {}",
        is.1, is.0, from.1, from.0
    ))))
}

fn check_lease(tables: &Tables<'_>, partition: PartitionNo, lease: &Lease) -> Result<Verdict, redb::Error> {
    let stored = stored_lease(tables, partition)?;
    // An owner without a name is a partition that was given back.
    if stored == *lease && !lease.owner.is_empty() {
        return Ok(Ok(()));
    }
    Ok(Err(StoreError::Stale(format!(
        "epoch {} of `{}` is over, partition {partition} is at epoch {}",
        lease.epoch, lease.owner, stored.epoch
    ))))
}

fn write_run(tables: &mut Tables<'_>, partition: PartitionNo, write: &RunWrite) -> Result<(), redb::Error> {
    let expires = write.expire_ms.map_or(0, |ms| tables.now.0.saturating_add(ms).max(1));
    let head = RunHead { expires };
    if write.state_before.is_none_or(RunState::is_final) {
        displace(tables, partition, write)?;
    }
    if write.values_clear {
        let (first, last) = (key::run(partition, write.run, 1), key::run(partition, write.run, u64::MAX));
        tables.run.retain_in::<&[u8; 26], _>(&first..=&last, |_, _| false)?;
    }
    for (value, bytes) in &write.values_put {
        tables.run.insert(&key::run(partition, write.run, value.0), bytes.as_slice())?;
    }
    // Ids are never used again, so what is put and dropped at once was put first.
    for value in &write.values_drop {
        tables.run.remove(&key::run(partition, write.run, value.0))?;
    }
    tables.run.insert(&key::run(partition, write.run, 0), head.write(&write.control).as_slice())?;
    if write.state_before != Some(write.index.state) {
        write_index(tables, partition, write.run, write.state_before, &write.index)?;
    }
    if expires != 0 {
        let row = write_record("an index row", &Ended::of(&write.index))?;
        tables.index.insert(expiry(partition, expires, write.run).as_slice(), row.as_slice())?;
    }
    Ok(())
}

/// Takes back the leave that an earlier life of the run was given; where that life is over, removes what is left of it.
fn displace(tables: &mut Tables<'_>, partition: PartitionNo, write: &RunWrite) -> Result<(), redb::Error> {
    let control = key::run(partition, write.run, 0);
    let head = tables.run.get(&control)?.and_then(|row| RunHead::read(row.value()).map(|(head, _)| head));
    let Some(RunHead { expires }) = head.filter(|head| head.expires != 0) else { return Ok(()) };
    let row = tables.index.remove(expiry(partition, expires, write.run).as_slice())?;
    let ended: Option<Ended> = row.map(|row| read_record("an index row", row.value())).transpose()?;
    if write.state_before.is_none()
        && let Some(ended) = ended
    {
        remove_run(tables, partition, write.run, ended)?;
    }
    Ok(())
}

/// Removes a run that has ended, with its rows in the lists.
fn remove_run(tables: &mut Tables<'_>, partition: PartitionNo, run: RunId, ended: Ended) -> Result<(), redb::Error> {
    let (first, last) = (key::run(partition, run, 0), key::run(partition, run, u64::MAX));
    tables.run.retain_in::<&[u8; 26], _>(&first..=&last, |_, _| false)?;
    let state = ended.state;
    for row in rows(partition, run, &ended.index(), state) {
        tables.index.remove(row.as_slice())?;
    }
    Ok(())
}

fn write_index(
    tables: &mut Tables<'_>,
    partition: PartitionNo,
    run: RunId,
    before: Option<RunState>,
    index: &RunIndex,
) -> Result<(), redb::Error> {
    if let Some(before) = before {
        for row in rows(partition, run, index, before) {
            tables.index.remove(row.as_slice())?;
        }
    }
    for row in rows(partition, run, index, index.state) {
        tables.index.insert(row.as_slice(), [].as_slice())?;
    }
    let live = key::index::live(partition, run);
    if index.state.is_final() {
        tables.index.remove(live.as_slice())?;
    } else {
        tables.index.insert(live.as_slice(), [].as_slice())?;
    }
    Ok(())
}

/// The rows of a run in the lists.
fn rows(partition: PartitionNo, run: RunId, index: &RunIndex, state: RunState) -> [Vec<u8>; 2] {
    [None, Some(&index.workflow)].map(|workflow| {
        key::index::row(key::index::list(partition, &index.namespace, workflow, state), index.submitted_at, run)
    })
}

fn expiry(partition: PartitionNo, at: u64, run: RunId) -> Vec<u8> {
    let mut row = key::index::expiry_of(partition);
    row.extend_from_slice(&at.to_be_bytes());
    row.extend_from_slice(run.0.as_bytes());
    row
}

/// Where a run that has ended stands in the lists.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ended {
    namespace: Namespace,
    workflow: WorkflowName,
    state: RunState,
    submitted_at: Timestamp,
}

impl Ended {
    fn of(index: &RunIndex) -> Self {
        let RunIndex { namespace, workflow, state, submitted_at } = index.clone();
        Self { namespace, workflow, state, submitted_at }
    }

    fn index(self) -> RunIndex {
        let Self { namespace, workflow, state, submitted_at } = self;
        RunIndex { namespace, workflow, state, submitted_at }
    }
}

fn write_entry(entry: &OutboxEntry) -> Result<Vec<u8>, redb::Error> {
    write_record("a dispatch", &(&entry.pool, entry.priority, &entry.published))
}

/// Reads what a commit wrote for a dispatch.
pub(crate) fn read_entry(key: &[u8; 34], row: &[u8]) -> Result<OutboxEntry, redb::Error> {
    let (pool, priority, published) = read_record("a dispatch", row)?;
    Ok(OutboxEntry { id: key::command_of(key), pool, priority, published })
}

/// Replaces or removes the note on a batch.
pub(crate) struct Note {
    pub(crate) partition: PartitionNo,
    pub(crate) lease: Lease,
    pub(crate) note: Option<Suspicion>,
    pub(crate) verdict: Verdict,
}

impl Write for Note {
    type Out = Verdict;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.verdict = check_lease(tables, self.partition, &self.lease)?;
        if self.verdict.is_err() {
            return Ok(());
        }
        let key = key::misc::suspicion(self.partition);
        match &self.note {
            Some(note) => {
                let row = write_record("a note", note)?;
                tables.misc.insert(key.as_slice(), row.as_slice())?;
            }
            None => drop(tables.misc.remove(key.as_slice())?),
        }
        Ok(())
    }

    fn stored(self) -> Verdict {
        self.verdict
    }
}

/// Empties a partition.
pub(crate) struct Clear {
    pub(crate) partition: PartitionNo,
    pub(crate) lease: Lease,
    pub(crate) verdict: Verdict,
}

impl Write for Clear {
    type Out = Verdict;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.verdict = check_lease(tables, self.partition, &self.lease)?;
        if self.verdict.is_err() {
            return Ok(());
        }
        let p = self.partition;
        let (least, most) = ([0; 16], [u8::MAX; 16]);
        let first = key::run(p, key::run_at(&least), 0);
        let last = key::run(p, key::run_at(&most), u64::MAX);
        tables.run.retain_in::<&[u8; 26], _>(&first..=&last, |_, _| false)?;
        tables.timer.retain_in::<&[u8; 26], _>(&first..=&last, |_, _| false)?;
        let (mut first, mut last) = ([0; 34], [u8::MAX; 34]);
        first[..2].copy_from_slice(&p.0.to_be_bytes());
        last[..2].copy_from_slice(&p.0.to_be_bytes());
        tables.outbox.retain_in::<&[u8; 34], _>(&first..=&last, |_, _| false)?;
        for letter in key::index::LETTERS {
            let first = key::index::partition(letter, p);
            let end = key::end_of(&first);
            tables.index.retain_in::<&[u8], _>(first.as_slice()..end.as_slice(), |_, _| false)?;
        }
        let first = key::misc::told_of(p);
        let end = key::end_of(&first);
        tables.misc.retain_in::<&[u8], _>(first.as_slice()..end.as_slice(), |_, _| false)?;
        tables.misc.remove(key::misc::cursor(p).as_slice())?;
        Ok(())
    }

    fn stored(self) -> Verdict {
        self.verdict
    }
}

/// Removes runs whose time is over, with their index rows.
pub(crate) struct Trim {
    pub(crate) partition: PartitionNo,
    pub(crate) limit: usize,
    pub(crate) gone: usize,
}

impl Write for Trim {
    type Out = usize;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let first = key::index::expiry_of(self.partition);
        let mut due = Vec::new();
        for row in tables.index.range::<&[u8]>(first.as_slice()..expiry_end(self.partition, tables.now).as_slice())? {
            if due.len() == self.limit {
                break;
            }
            let (key, value) = row?;
            let ended: Ended = read_record("an index row", value.value())?;
            due.push((key.value().to_vec(), ended));
        }
        for (key, ended) in due {
            self.gone += usize::from(self.remove(tables, &key, ended)?);
        }
        Ok(())
    }

    fn stored(self) -> usize {
        self.gone
    }
}

impl Trim {
    /// False for a run that was written again after this row and lives on.
    fn remove(&self, tables: &mut Tables<'_>, row: &[u8], ended: Ended) -> Result<bool, redb::Error> {
        tables.index.remove(row)?;
        let Some((at, run)) = key::index::read_row(row) else { return Ok(false) };
        let control = key::run(self.partition, run, 0);
        let is_over = match tables.run.get(&control)? {
            Some(stored) => RunHead::read(stored.value()).is_some_and(|(head, _)| head.expires == at.0),
            None => true,
        };
        if is_over {
            remove_run(tables, self.partition, run, ended)?;
        }
        Ok(is_over)
    }
}

fn expiry_end(partition: PartitionNo, now: Timestamp) -> Vec<u8> {
    let mut end = key::index::expiry_of(partition);
    end.extend_from_slice(&now.0.saturating_add(1).to_be_bytes());
    end
}
