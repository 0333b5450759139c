//! Turns a commit into the writes that `commit.lua` makes. Costs grow with what changed, not with what is stored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use redis::Value;
use stepmill_protocol::PartitionNo;
use stepmill_protocol::api::RunState;

use super::codec::{SCORE_MAX, command_field, ended_entry, outbox_value, timer_field, told_field};
use super::key::{Keys, field};
use super::script::Batch;
use crate::port::store::{Commit, Lease, RunWrite, StoreError};

/// The longest time that a finished run is kept: a hundred years. The server refuses times far beyond it.
const EXPIRE_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

const STATES_FINAL: [RunState; 3] = [RunState::Completed, RunState::Faulted, RunState::Cancelled];

/// What one index gains and loses.
#[derive(Default)]
struct IndexChange {
    add: Vec<[Vec<u8>; 2]>,
    remove: Vec<[Vec<u8>; 1]>,
}

/// Changes of sorted sets, gathered over all runs of a commit so that each is written once.
#[derive(Default)]
struct IndexChanges(BTreeMap<String, IndexChange>);

impl IndexChanges {
    fn add(&mut self, key: String, score: u64, member: &[u8]) {
        self.0.entry(key).or_default().add.push([score.to_string().into_bytes(), member.to_vec()]);
    }

    fn remove(&mut self, key: String, member: &[u8]) {
        self.0.entry(key).or_default().remove.push([member.to_vec()]);
    }

    fn put(self, batch: &mut Batch) {
        for (key, change) in self.0 {
            let key = batch.key(key);
            batch.put_many("ZREM", key, &change.remove);
            batch.put_many("ZADD", key, &change.add);
        }
    }
}

/// The comparisons that every write of an owner begins with.
pub(super) fn held_by(lease: &Lease) -> Vec<(&'static str, String)> {
    vec![(field::OWNER, lease.owner.clone()), (field::EPOCH, lease.epoch.to_string())]
}

/// All writes of a commit.
pub(super) fn batch(keys: &Keys, commit: &Commit) -> Result<Batch, StoreError> {
    let p = commit.partition;
    let mut compared = held_by(&commit.lease);
    compared.push((field::INCARNATION, commit.from.incarnation.to_string()));
    compared.push((field::SEQ, commit.from.seq.to_string()));
    let mut batch = Batch::guarded(keys.record(p), compared);
    // First, because the server may refuse a script for want of memory or disk only before its first write, and this is a
    // command that it does refuse: then nothing is written.
    put_cursor(&mut batch, commit);
    let mut indexes = IndexChanges::default();
    let mut lasting = Vec::with_capacity(commit.runs.len());
    for write in &commit.runs {
        let run = batch.key(keys.run(p, write.run));
        match write.expire_ms.map(expiry) {
            Some(ms) => batch.put("SET", run, &[&write.control, b"PX", ms.as_bytes()]),
            // Which also takes an earlier expiry off.
            None => lasting.push((run, write.control.as_slice())),
        }
        put_values(&mut batch, keys, p, write);
        move_in_indexes(&mut indexes, keys, commit, write)?;
    }
    batch.set_all(&lasting);
    indexes.put(&mut batch);
    put_outbox(&mut batch, keys, commit)?;
    put_timers(&mut batch, keys, commit);
    put_holds(&mut batch, keys, commit)?;
    put_told(&mut batch, keys, commit);
    Ok(batch)
}

fn put_cursor(batch: &mut Batch, commit: &Commit) {
    let (from, to) = (&commit.from, &commit.to);
    let (incarnation, seq, at) = (to.incarnation.to_string(), to.seq.to_string(), to.at.0.to_string());
    let mut fields = vec![field::SEQ.as_bytes(), seq.as_bytes(), field::AT.as_bytes(), at.as_bytes()];
    // A position in the same log is the rule. At the very beginning nothing is stored yet.
    if to.incarnation != from.incarnation || to.log != from.log || from.seq == 0 {
        fields.extend([
            field::INCARNATION.as_bytes(),
            incarnation.as_bytes(),
            field::LOG.as_bytes(),
            to.log.as_bytes(),
        ]);
    }
    batch.put("HSET", Batch::RECORD, &fields);
}

fn expiry(ms: u64) -> String {
    ms.clamp(1, EXPIRE_MS_MAX).to_string()
}

fn put_values(batch: &mut Batch, keys: &Keys, p: PartitionNo, write: &RunWrite) {
    let expire = write.expire_ms.map(expiry);
    let stays_after_all = expire.is_none() && write.state_before.is_some_and(RunState::is_final);
    let untouched = !write.values_clear && write.values_put.is_empty() && write.values_drop.is_empty();
    if untouched && expire.is_none() && !stays_after_all {
        return;
    }
    let values = batch.key(keys.values(p, write.run));
    if write.values_clear {
        batch.put("UNLINK", values, &[]);
    }
    let puts: Vec<[Cow<'_, [u8]>; 2]> = write
        .values_put
        .iter()
        .map(|(id, value)| [Cow::Owned(id.0.to_string().into_bytes()), Cow::Borrowed(value.as_slice())])
        .collect();
    batch.put_many("HSET", values, &puts);
    let drops: Vec<[String; 1]> = write.values_drop.iter().map(|id| [id.0.to_string()]).collect();
    batch.put_many("HDEL", values, &drops);
    if let Some(ms) = &expire {
        batch.put("PEXPIRE", values, &[ms.as_bytes()]);
    } else if stays_after_all {
        batch.put("PERSIST", values, &[]);
    }
}

fn move_in_indexes(
    changes: &mut IndexChanges,
    keys: &Keys,
    commit: &Commit,
    write: &RunWrite,
) -> Result<(), StoreError> {
    let (p, index, before) = (commit.partition, &write.index, write.state_before);
    let member = write.run.0.as_bytes().as_slice();
    if before != Some(index.state) {
        let submitted = index.submitted_at.0;
        if submitted > SCORE_MAX {
            return Err(StoreError::Refused(format!("run {}: submission time {submitted} is out of range", write.run)));
        }
        // A run that is new may have been stored before, have ended and expired; what its entries said is void.
        let left = before.as_ref().map_or(STATES_FINAL.as_slice(), std::slice::from_ref);
        for workflow in [None, Some(&index.workflow)] {
            let key = |state| keys.index(p, &index.namespace, workflow, state);
            for state in left.iter().filter(|s| **s != index.state) {
                changes.remove(key(*state), member);
            }
            changes.add(key(index.state), submitted, member);
        }
    }
    match (before.is_some_and(|s| !s.is_final()), !index.state.is_final()) {
        (false, true) => changes.add(keys.live(p), 0, member),
        (true, false) => changes.remove(keys.live(p), member),
        (true, true) | (false, false) => {}
    }
    if let Some(state) = before.filter(|s| s.is_final()) {
        changes.remove(keys.ended(p), &ended_entry(write.run, index, state));
    }
    if let Some(ms) = write.expire_ms {
        // The log's time is near enough: the score only says when trimming looks at the entry, and is corrected then.
        let leaves = commit.to.at.0.saturating_add(ms).min(SCORE_MAX);
        changes.add(keys.ended(p), leaves, &ended_entry(write.run, index, index.state));
    }
    Ok(())
}

fn put_outbox(batch: &mut Batch, keys: &Keys, commit: &Commit) -> Result<(), StoreError> {
    if commit.outbox_put.is_empty() && commit.outbox_drop.is_empty() {
        return Ok(());
    }
    let key = batch.key(keys.outbox(commit.partition));
    let puts: Vec<[Vec<u8>; 2]> = commit
        .outbox_put
        .iter()
        .map(|entry| Ok([command_field(&entry.id), outbox_value(entry)?]))
        .collect::<Result<_, StoreError>>()?;
    batch.put_many("HSET", key, &puts);
    let drops: Vec<[Vec<u8>; 1]> = commit.outbox_drop.iter().map(|id| [command_field(id)]).collect();
    batch.put_many("HDEL", key, &drops);
    Ok(())
}

fn put_timers(batch: &mut Batch, keys: &Keys, commit: &Commit) {
    if commit.timers_put.is_empty() && commit.timers_drop.is_empty() {
        return;
    }
    let key = batch.key(keys.timers(commit.partition));
    let puts: Vec<[Vec<u8>; 2]> = commit
        .timers_put
        .iter()
        .map(|(run, timer, due)| [timer_field(*run, *timer), due.0.to_string().into_bytes()])
        .collect();
    batch.put_many("HSET", key, &puts);
    let drops: Vec<[Vec<u8>; 1]> = commit.timers_drop.iter().map(|(run, timer)| [timer_field(*run, *timer)]).collect();
    batch.put_many("HDEL", key, &drops);
}

fn put_holds(batch: &mut Batch, keys: &Keys, commit: &Commit) -> Result<(), StoreError> {
    if commit.holds.is_empty() {
        return Ok(());
    }
    let key = batch.key(keys.holds(commit.partition));
    for (scope, hold) in &commit.holds {
        let field = scope.text();
        match hold {
            Some(hold) => {
                let row = rmp_serde::to_vec_named(hold)
                    .map_err(|e| StoreError::Refused(format!("what is held back cannot be written: {e}")))?;
                batch.put("HSET", key, &[field.as_bytes(), &row]);
            }
            None => batch.put("HDEL", key, &[field.as_bytes()]),
        }
    }
    Ok(())
}

fn put_told(batch: &mut Batch, keys: &Keys, commit: &Commit) {
    if commit.told_put.is_none() && commit.told_drop.is_empty() {
        return;
    }
    let key = batch.key(keys.told(commit.partition));
    if let Some((batch_key, told)) = &commit.told_put {
        batch.put("HSET", key, &[&told_field(*batch_key), told]);
    }
    let drops: Vec<[Vec<u8>; 1]> = commit.told_drop.iter().map(|k| [told_field(*k)]).collect();
    batch.put_many("HDEL", key, &drops);
}

/// What `commit.lua` answered.
pub(super) fn outcome(answer: &Value) -> Result<(), StoreError> {
    if matches!(answer, Value::Int(1)) {
        return Ok(());
    }
    match redis::from_redis_value_ref::<(String, String)>(answer) {
        Ok((name, have)) => Err(StoreError::Stale(format!("its `{name}` is `{have}`"))),
        Err(e) => Err(StoreError::Corrupt(format!("a commit was answered in an unexpected form ({e})"))),
    }
}
