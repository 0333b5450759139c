//! Reading runs, lists and open work, and trimming what has expired.

use redis::{Cmd, Pipeline};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{PartitionNo, RunId, TimerId, Timestamp, ValueId};

use super::RedisStore;
use super::codec::{Ended, ended_from, outbox_from, run_from, score_from, timer_from, told_from};
use super::connection::SCAN_COUNT;
use super::script::{self, Args};
use crate::port::store::{ListQuery, OutboxEntry, StoreError, StoredRun, ToldKey};

/// Runs that one call of `trim.lua` looks at, so that it does not hold up the server.
const TRIM_CHUNK: usize = 200;

fn command(name: &str, key: &str) -> Cmd {
    let mut cmd = redis::cmd(name);
    cmd.arg(key);
    cmd
}

impl RedisStore {
    pub(super) async fn read_runs(&self, p: PartitionNo, runs: &[RunId]) -> Result<Vec<Option<StoredRun>>, StoreError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(2 * runs.len());
        for run in runs {
            pipeline.add_command(command("GET", &self.keys.run(p, *run)));
            pipeline.add_command(command("HGETALL", &self.keys.values(p, *run)));
        }
        let answers: Vec<redis::Value> = self.fast.pipeline(&pipeline).await?;
        let unreadable = |e: redis::ParsingError| StoreError::Corrupt(format!("a run cannot be read ({e})"));
        let mut found = Vec::with_capacity(runs.len());
        let mut answers = answers.into_iter();
        while let (Some(control), Some(values)) = (answers.next(), answers.next()) {
            let control: Option<Vec<u8>> = redis::from_redis_value(control).map_err(unreadable)?;
            let values: Vec<(Vec<u8>, Vec<u8>)> = redis::from_redis_value(values).map_err(unreadable)?;
            found.push(match control {
                Some(control) => Some(StoredRun { control, values: values_from(values)? }),
                None => None,
            });
        }
        Ok(found)
    }

    pub(super) async fn read_outbox(&self, p: PartitionNo) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut found = std::collections::BTreeMap::new();
        let key = self.keys.outbox(p);
        self.slow
            .hash(&key, |field, value| {
                let entry = outbox_from(field, value)?;
                found.insert(entry.id, entry);
                Ok(())
            })
            .await?;
        Ok(found.into_values().collect())
    }

    pub(super) async fn read_told(&self, p: PartitionNo) -> Result<Vec<(ToldKey, Vec<u8>)>, StoreError> {
        let mut found = std::collections::BTreeMap::new();
        let key = self.keys.told(p);
        self.slow
            .hash(&key, |field, told| {
                found.insert(told_from(field)?, told.to_vec());
                Ok(())
            })
            .await?;
        Ok(found.into_iter().collect())
    }

    pub(super) async fn read_timers(&self, p: PartitionNo) -> Result<Vec<(RunId, TimerId, Timestamp)>, StoreError> {
        let mut found = std::collections::BTreeMap::new();
        let key = self.keys.timers(p);
        self.slow
            .hash(&key, |field, due| {
                let (run, timer, due) = timer_from(field, due)?;
                found.insert((run, timer), due);
                Ok(())
            })
            .await?;
        Ok(found.into_iter().map(|((run, timer), due)| (run, timer, due)).collect())
    }

    pub(super) async fn read_live(
        &self,
        p: PartitionNo,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let from = after.map_or_else(|| b"-".to_vec(), |run| [b"(", &run.0.as_bytes()[..]].concat());
        let mut cmd = command("ZRANGEBYLEX", &self.keys.live(p));
        cmd.arg(from).arg("+").arg("LIMIT").arg(0).arg(limit.min(i64::MAX as usize));
        let members: Vec<Vec<u8>> = self.slow.command(&cmd).await?;
        members.iter().map(|m| run_from(m)).collect()
    }

    pub(super) async fn read_list(&self, p: PartitionNo, q: &ListQuery) -> Result<Vec<(Timestamp, RunId)>, StoreError> {
        if q.limit == 0 {
            return Ok(Vec::new());
        }
        // One index per state; a list of all states is made of all of them.
        let states = q.state.as_ref().map_or(RunState::ALL.as_slice(), std::slice::from_ref);
        let index = |state: &RunState| self.keys.index(p, &q.namespace, q.workflow.as_ref(), *state);
        let mut cmd = script::call(&script::LIST, &states.iter().map(index).collect::<Vec<_>>());
        cmd.arg(q.to.map_or_else(String::new, |t| t.0.to_string()));
        match &q.after {
            Some((submitted, run)) => cmd.arg(submitted.0).arg(&run.0.as_bytes()[..]),
            None => cmd.arg("").arg(""),
        };
        cmd.arg(q.limit.min(u32::MAX as usize));
        let rows: Vec<(Vec<u8>, Vec<u8>)> = self.slow.command(&cmd).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (member, score) in rows {
            let submitted = score_from(&score)?;
            if q.from.is_none_or(|from| submitted >= from) {
                found.push((submitted, run_from(&member)?));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(q.limit);
        Ok(found)
    }

    pub(super) async fn trim(&self, p: PartitionNo, limit: usize) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        let now = self.slow.now().await?;
        let mut cmd = command("ZRANGE", &self.keys.ended(p));
        cmd.arg("-inf").arg(now).arg("BYSCORE").arg("LIMIT").arg(0).arg(limit.min(u32::MAX as usize));
        let entries: Vec<Vec<u8>> = self.slow.command(&cmd).await?;
        let mut gone = 0usize;
        for chunk in entries.chunks(TRIM_CHUNK) {
            let ended =
                chunk.iter().map(|entry| Ok((entry, ended_from(entry)?))).collect::<Result<Vec<_>, StoreError>>()?;
            gone += self.slow.command::<usize>(&self.trim_command(p, &ended)).await?;
        }
        Ok(gone)
    }

    fn trim_command(&self, p: PartitionNo, ended: &[(&Vec<u8>, Ended)]) -> Cmd {
        let mut keys = vec![self.keys.ended(p)];
        let mut args = Args::default();
        for (entry, run) in ended {
            args.push(entry);
            args.push(run.run.0.as_bytes());
            keys.push(self.keys.run(p, run.run));
            args.push_number(keys.len() as u64);
            args.push_number(2);
            for workflow in [None, Some(&run.workflow)] {
                keys.push(self.keys.index(p, &run.namespace, workflow, run.state));
                args.push_number(keys.len() as u64);
            }
        }
        let mut cmd = script::call(&script::TRIM, &keys);
        args.append_to(&mut cmd);
        cmd
    }

    /// All keys of the partition but its record and its lease. Keys that come or go meanwhile may be missing.
    pub(super) async fn each_key_chunk(&self, p: PartitionNo, cursor: u64) -> Result<(u64, Vec<String>), StoreError> {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor).arg("MATCH").arg(self.keys.pattern(p)).arg("COUNT").arg(SCAN_COUNT);
        let (next, mut found): (u64, Vec<String>) = self.slow.command(&cmd).await?;
        let (record, lease) = (self.keys.record(p), self.keys.lease(p));
        found.retain(|key| *key != record && *key != lease);
        Ok((next, found))
    }
}

fn values_from(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<(ValueId, Vec<u8>)>, StoreError> {
    let mut values = pairs
        .into_iter()
        .map(|(id, value)| Ok((ValueId(super::codec::number_from(&id)?), value)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    values.sort_unstable_by_key(|(id, _)| *id);
    Ok(values)
}
