//! The state of runs in Redis (or Valkey).
//!
//! Every write of an owner is one script that first compares the lease (owner and epoch) and, for a commit, the cursor, and
//! writes nothing if they differ. So correctness rests neither on the lease's lifetime nor on anybody's clock: an owner
//! that slept through its lease is refused by the epoch, and a server that was emptied or fell back to an older state is
//! noticed by the cursor.

mod codec;
mod commit;
mod connection;
mod definition;
mod error;
mod key;
mod read;
mod script;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Pipeline;
use stepmill_protocol::{
    Digest, Hold, Namespace, PartitionNo, RunId, TimerId, Timestamp, ValueId, Version, WorkflowName,
};

pub use self::settings::{Profile, ServerSettings, profile_mismatches, profile_unknowns};

use self::codec::{SCORE_MAX, note_from, note_text, number_from};
use self::commit::{held_by, outcome};
use self::connection::Connection;
use self::key::{Keys, field};
use self::script::Batch;
use crate::port::store::{
    Commit, Cursor, Lease, ListQuery, OutboxEntry, Store, StoreError, StoredDefinition, StoredRun, Suspicion, ToldKey,
};

/// Keys that one call removes when a partition is emptied.
const CLEAR_CHUNK: usize = 500;

/// How to use a server.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Begins every key. Installations that share a database need different ones.
    pub prefix: String,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an answer may take where others wait for it.
    pub response_timeout: Duration,
    /// How long an answer may take for lists, takeover and trimming, which have a connection of their own.
    pub slow_response_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "sm".into(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            slow_response_timeout: Duration::from_secs(30),
        }
    }
}

/// The store. Clones share its connections.
#[derive(Clone)]
pub struct RedisStore {
    keys: Keys,
    fast: Arc<Connection>,
    slow: Arc<Connection>,
    settings: Arc<ServerSettings>,
}

impl RedisStore {
    /// Connects and checks that the server can be trusted with runs.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the address or prefix is malformed, the server too old or one that evicts keys;
    /// [`StoreError::Unavailable`] when it cannot be reached.
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self, StoreError> {
        let Some(keys) = Keys::new(&options.prefix) else {
            return Err(StoreError::Refused(format!(
                "`{}` cannot be a key prefix; use 1 to 64 letters, digits, `-`, `_` and `.`",
                options.prefix
            )));
        };
        let fast = Connection::open(url, options.connect_timeout, options.response_timeout).await?;
        let slow = Connection::open(url, options.connect_timeout, options.slow_response_timeout).await?;
        let settings = ServerSettings::read(&fast).await?;
        settings.check()?;
        Ok(Self { keys, fast: Arc::new(fast), slow: Arc::new(slow), settings: Arc::new(settings) })
    }

    /// What the server was found to promise when connecting; to be held against a profile by [`profile_mismatches`].
    #[must_use]
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let answer: redis::Value = self.fast.command(&batch.into_command()).await?;
        outcome(&answer)
    }

    fn guarded(&self, partition: PartitionNo, lease: &Lease) -> Batch {
        Batch::guarded(self.keys.record(partition), held_by(lease))
    }

    async fn record_field(&self, partition: PartitionNo, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.record(partition)).arg(name);
        self.fast.command(&cmd).await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn partitions(&self, wanted: u16) -> Result<u16, StoreError> {
        if wanted == 0 {
            return Err(StoreError::Refused("an installation needs at least one partition".into()));
        }
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.keys.partitions()).arg(wanted).arg("NX").arg("GET");
        let before: Option<u16> = self.fast.command(&cmd).await?;
        Ok(before.unwrap_or(wanted))
    }

    async fn beat(&self, owner: &str, ttl_ms: u64) -> Result<Vec<String>, StoreError> {
        let now = self.fast.now().await?;
        let mut cmd = script::call(&script::BEAT, &[self.keys.members()]);
        cmd.arg(now).arg(owner).arg(now.saturating_add(ttl_ms).min(SCORE_MAX));
        let mut alive: Vec<String> = self.fast.command(&cmd).await?;
        alive.sort_unstable();
        Ok(alive)
    }

    async fn leave(&self, owner: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("ZREM");
        cmd.arg(self.keys.members()).arg(owner);
        self.fast.command(&cmd).await
    }

    async fn acquire(
        &self,
        partition: PartitionNo,
        owner: &str,
        ttl_ms: u64,
        epoch_min: u64,
    ) -> Result<Option<Lease>, StoreError> {
        if epoch_min >= SCORE_MAX {
            return Err(StoreError::Refused(format!("epoch {epoch_min} is out of range")));
        }
        let keys = [self.keys.lease(partition), self.keys.record(partition)];
        let mut cmd = script::call(&script::ACQUIRE, &keys);
        cmd.arg(owner).arg(ttl_ms.max(1)).arg(epoch_min);
        let epoch: Option<Vec<u8>> = self.fast.command(&cmd).await?;
        epoch.map(|e| Ok(Lease { owner: owner.into(), epoch: number_from(&e)? })).transpose()
    }

    async fn renew(&self, leases: &[(PartitionNo, Lease)], ttl_ms: u64) -> Result<Vec<bool>, StoreError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let ttl = ttl_ms.max(1).to_string();
        let mut pipeline = Pipeline::with_capacity(leases.len());
        for (partition, lease) in leases {
            let mut batch = self.guarded(*partition, lease);
            let own = batch.key(self.keys.lease(*partition));
            batch.put("SET", own, &[lease.owner.as_bytes(), b"PX", ttl.as_bytes()]);
            pipeline.add_command(batch.into_command());
        }
        let answers: Vec<redis::Value> = self.fast.pipeline(&pipeline).await?;
        answers
            .iter()
            .map(|answer| match outcome(answer) {
                Ok(()) => Ok(true),
                Err(StoreError::Stale(_)) => Ok(false),
                Err(e @ (StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Refused(_))) => Err(e),
            })
            .collect()
    }

    async fn release(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError> {
        let mut batch = self.guarded(partition, lease);
        let own = batch.key(self.keys.lease(partition));
        batch.put("DEL", own, &[]);
        // The epoch stays, so that the next one is higher.
        batch.put("HDEL", Batch::RECORD, &[field::OWNER.as_bytes()]);
        match self.write(batch).await {
            Err(StoreError::Stale(_)) => Ok(()),
            other => other,
        }
    }

    async fn cursor(&self, partition: PartitionNo) -> Result<Option<Cursor>, StoreError> {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(self.keys.record(partition)).arg(&[field::INCARNATION, field::SEQ, field::AT, field::LOG]);
        type Fields = (Option<u64>, Option<u64>, Option<u64>, Option<String>);
        let (incarnation, seq, at, log): Fields = self.fast.command(&cmd).await?;
        let (Some(incarnation), Some(seq)) = (incarnation, seq) else {
            return Ok(None);
        };
        Ok(Some(Cursor { incarnation, seq, at: Timestamp(at.unwrap_or(0)), log: log.unwrap_or_default() }))
    }

    async fn suspicion(&self, partition: PartitionNo) -> Result<Option<Suspicion>, StoreError> {
        self.record_field(partition, field::NOTE).await?.map(|text| note_from(&text)).transpose()
    }

    async fn note_suspicion(
        &self,
        partition: PartitionNo,
        lease: &Lease,
        note: Option<&Suspicion>,
    ) -> Result<(), StoreError> {
        let mut batch = self.guarded(partition, lease);
        let name = field::NOTE.as_bytes();
        match note {
            Some(note) => batch.put("HSET", Batch::RECORD, &[name, note_text(note).as_bytes()]),
            None => batch.put("HDEL", Batch::RECORD, &[name]),
        }
        self.write(batch).await
    }

    async fn load(&self, partition: PartitionNo, runs: &[RunId]) -> Result<Vec<Option<StoredRun>>, StoreError> {
        self.read_runs(partition, runs).await
    }

    async fn load_value(
        &self,
        partition: PartitionNo,
        run: RunId,
        value: ValueId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.values(partition, run)).arg(value.0);
        self.fast.command(&cmd).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.write(commit::batch(&self.keys, &commit)?).await
    }

    async fn outbox(&self, partition: PartitionNo) -> Result<Vec<OutboxEntry>, StoreError> {
        self.read_outbox(partition).await
    }

    async fn timers(&self, partition: PartitionNo) -> Result<Vec<(RunId, TimerId, Timestamp)>, StoreError> {
        self.read_timers(partition).await
    }

    async fn holds(&self, partition: PartitionNo) -> Result<Vec<Hold>, StoreError> {
        let mut cmd = redis::cmd("HVALS");
        cmd.arg(self.keys.holds(partition));
        let rows: Vec<Vec<u8>> = self.fast.command(&cmd).await?;
        let read = |row: &Vec<u8>| {
            rmp_serde::from_slice(row).map_err(|e| StoreError::Corrupt(format!("what is held back: {e}")))
        };
        rows.iter().map(read).collect()
    }

    async fn told(&self, partition: PartitionNo) -> Result<Vec<(ToldKey, Vec<u8>)>, StoreError> {
        self.read_told(partition).await
    }

    async fn live_runs(
        &self,
        partition: PartitionNo,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        self.read_live(partition, after, limit).await
    }

    async fn list(&self, partition: PartitionNo, query: &ListQuery) -> Result<Vec<(Timestamp, RunId)>, StoreError> {
        self.read_list(partition, query).await
    }

    async fn trim_indexes(&self, partition: PartitionNo, limit: usize) -> Result<usize, StoreError> {
        self.trim(partition, limit).await
    }

    async fn clear(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError> {
        // The cursor goes first: whoever finds the partition half emptied folds it from the beginning.
        let mut batch = self.guarded(partition, lease);
        let fields = [field::INCARNATION, field::SEQ, field::AT, field::LOG].map(str::as_bytes);
        batch.put("HDEL", Batch::RECORD, &fields);
        self.write(batch).await?;
        let mut cursor = 0;
        loop {
            let (next, found) = self.each_key_chunk(partition, cursor).await?;
            for chunk in found.chunks(CLEAR_CHUNK) {
                let mut batch = self.guarded(partition, lease);
                for key in chunk {
                    let key = batch.key(key.clone());
                    batch.put("UNLINK", key, &[]);
                }
                self.write(batch).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn put_definition(&self, definition: &StoredDefinition) -> Result<(StoredDefinition, bool), StoreError> {
        self.define(definition).await
    }

    async fn definition(&self, digest: &Digest) -> Result<Option<StoredDefinition>, StoreError> {
        self.definition_at(digest).await
    }

    async fn find_digest(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<Digest>, StoreError> {
        self.digest_named(namespace, name, version).await
    }

    async fn find_definition(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<StoredDefinition>, StoreError> {
        self.definition_named(namespace, name, version).await
    }
}
