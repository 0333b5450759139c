//! Port: the state of runs, committed per partition.

use async_trait::async_trait;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{
    CommandId, Digest, Namespace, PartitionNo, PoolName, Priority, RunId, TimerId, Timestamp, ValueId, Version,
    WorkflowName,
};

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Epoch, cursor or incarnation differ from what the caller believes: somebody else owns the partition, or the store was
    /// emptied or went back in time. Nothing was written; reload.
    #[error("the partition's stored state is not the one expected ({0}); nothing was written")]
    Stale(String),
    /// The store cannot be reached or failed; a write may or may not have happened.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// It cannot take this, and trying again does not help (too large, out of memory by policy, disk full).
    #[error("the store refused: {0}")]
    Refused(String),
}

/// A partition held by an owner. The store refuses commits of any other lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The coordinator.
    pub owner: String,
    /// Raised with each acquisition, never the same twice.
    pub epoch: u64,
}

/// How far a partition has been folded.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// Which log the sequence belongs to; raised when the log lost its end or was made anew.
    pub incarnation: u64,
    /// The log position; everything up to it is folded and committed. 0: nothing.
    pub seq: u64,
    /// The log's time of the message at `seq`.
    pub at: Timestamp,
    /// The identity of the log (its creation) that `seq` refers to. Empty: none yet.
    pub log: String,
}

/// The owner's note on a batch it is not sure to survive.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Suspicion {
    /// The cursor's sequence when the note was made.
    pub cursor: u64,
    /// How often a batch from there has been begun.
    pub tries: u32,
    /// The one event that is being folded by itself, when tries ran out.
    pub single: Option<u64>,
}

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// The engine's control state.
    pub control: Vec<u8>,
    /// Its values, encoded.
    pub values: Vec<(ValueId, Vec<u8>)>,
}

/// What a commit writes for one run.
#[derive(Clone, Debug)]
pub struct RunWrite {
    /// The run.
    pub run: RunId,
    /// The new control state.
    pub control: Vec<u8>,
    /// Values to write.
    pub values_put: Vec<(ValueId, Vec<u8>)>,
    /// Values to remove.
    pub values_drop: Vec<ValueId>,
    /// Remove all stored values first (a snapshot or rebuild replaces the run).
    pub values_clear: bool,
    /// Where it stands in the indexes.
    pub index: RunIndex,
    /// What its index entry said before; none for a run that was not stored.
    pub state_before: Option<RunState>,
    /// Set when the run has ended: remove it from the store after this many milliseconds.
    pub expire_ms: Option<u64>,
}

/// What a run is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIndex {
    /// Its tenant.
    pub namespace: Namespace,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Its state.
    pub state: RunState,
    /// Its submission.
    pub submitted_at: Timestamp,
}

/// A dispatch that is open: the task is to be published, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The dispatch.
    pub id: CommandId,
    /// Where to.
    pub pool: PoolName,
    /// How urgent.
    pub priority: Priority,
    /// The position of its message in the pool's stream, once published.
    pub published: Option<Published>,
}

/// Where a task message lies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Published {
    /// Its sequence in the pool's stream.
    pub seq: u64,
    /// The identity of that stream (its creation).
    pub stream: String,
}

/// The batch that life-cycle events came of: where its commit left the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldKey {
    /// The incarnation.
    pub incarnation: u64,
    /// The position.
    pub seq: u64,
}

/// One atomic change of a partition.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The partition.
    pub partition: PartitionNo,
    /// Must be the stored lease.
    pub lease: Lease,
    /// Must be the stored cursor: incarnation and sequence are compared (a missing one counts as the default).
    pub from: Cursor,
    /// The new cursor.
    pub to: Cursor,
    /// Changed runs; each at most once.
    pub runs: Vec<RunWrite>,
    /// Dispatches to add, or to overwrite with their stream position.
    pub outbox_put: Vec<OutboxEntry>,
    /// Dispatches that are settled.
    pub outbox_drop: Vec<CommandId>,
    /// Timers to arm.
    pub timers_put: Vec<(RunId, TimerId, Timestamp)>,
    /// Timers to disarm.
    pub timers_drop: Vec<(RunId, TimerId)>,
    /// Life-cycle events that are to be told, encoded.
    pub told_put: Option<(ToldKey, Vec<u8>)>,
    /// Those that were.
    pub told_drop: Vec<ToldKey>,
}

/// A definition as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredDefinition {
    /// Its address.
    pub digest: Digest,
    /// Its tenant.
    pub namespace: Namespace,
    /// Its name.
    pub name: WorkflowName,
    /// Its version.
    pub version: Version,
    /// Its text.
    pub source: String,
    /// When it was registered; the newest of a name is the one that runs start on by default.
    pub registered_at: Timestamp,
}

/// What to list: newest submission first.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The tenant.
    pub namespace: Namespace,
    /// Only of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only submitted at or after this.
    pub from: Option<Timestamp>,
    /// Only submitted before this.
    pub to: Option<Timestamp>,
    /// Only entries that come after this one in the order of the list (submission descending, then run id descending).
    pub after: Option<(Timestamp, RunId)>,
    /// Entries at most.
    pub limit: usize,
}

/// The state of runs. Every method may be called from several tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The number of partitions of this installation: `wanted` if none was chosen before.
    async fn partitions(&self, wanted: u16) -> Result<u16, StoreError>;

    /// Says that coordinator `owner` is alive for `ttl_ms` from now; returns all that are, sorted.
    async fn beat(&self, owner: &str, ttl_ms: u64) -> Result<Vec<String>, StoreError>;

    /// Leaves at once.
    async fn leave(&self, owner: &str) -> Result<(), StoreError>;

    /// Takes a free partition (or one already `owner`'s) for `ttl_ms` and raises its epoch to at least `epoch_min`. None: somebody else has it.
    async fn acquire(
        &self,
        partition: PartitionNo,
        owner: &str,
        ttl_ms: u64,
        epoch_min: u64,
    ) -> Result<Option<Lease>, StoreError>;

    /// Holds leases for another `ttl_ms`; says for each whether it is still held.
    async fn renew(&self, leases: &[(PartitionNo, Lease)], ttl_ms: u64) -> Result<Vec<bool>, StoreError>;

    /// Gives a lease back; does nothing if it is not held any more.
    async fn release(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError>;

    /// The stored cursor; none where nothing was ever committed (or the store was emptied).
    async fn cursor(&self, partition: PartitionNo) -> Result<Option<Cursor>, StoreError>;

    /// The note on a batch that may be deadly.
    async fn suspicion(&self, partition: PartitionNo) -> Result<Option<Suspicion>, StoreError>;

    /// Replaces or removes the note. [`StoreError::Stale`] when the lease is not held.
    async fn note_suspicion(
        &self,
        partition: PartitionNo,
        lease: &Lease,
        note: Option<&Suspicion>,
    ) -> Result<(), StoreError>;

    /// Loads runs; none for one that is not stored.
    async fn load(&self, partition: PartitionNo, runs: &[RunId]) -> Result<Vec<Option<StoredRun>>, StoreError>;

    /// Loads one value of a run.
    async fn load_value(
        &self,
        partition: PartitionNo,
        run: RunId,
        value: ValueId,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Commits, all or nothing.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// Everything the partition still has to do, read at takeover: open dispatches.
    async fn outbox(&self, partition: PartitionNo) -> Result<Vec<OutboxEntry>, StoreError>;

    /// Everything the partition still has to do, read at takeover: armed timers.
    async fn timers(&self, partition: PartitionNo) -> Result<Vec<(RunId, TimerId, Timestamp)>, StoreError>;

    /// Everything the partition still has to do, read at takeover: life-cycle events that may not have been told, in order.
    async fn told(&self, partition: PartitionNo) -> Result<Vec<(ToldKey, Vec<u8>)>, StoreError>;

    /// Runs in state `running` or `parked`, in the order of their ids, after `after`; at most `limit`. For snapshots.
    async fn live_runs(
        &self,
        partition: PartitionNo,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>, StoreError>;

    /// One partition's share of a list, newest first.
    async fn list(&self, partition: PartitionNo, query: &ListQuery) -> Result<Vec<(Timestamp, RunId)>, StoreError>;

    /// Removes index entries of finished runs whose state has left the store; at most `limit` are looked at. Returns how many went.
    async fn trim_indexes(&self, partition: PartitionNo, limit: usize) -> Result<usize, StoreError>;

    /// Empties the partition's runs, outbox, timers, indexes, life-cycle events and cursor (before it is folded again from the log).
    /// [`StoreError::Stale`] when the lease is not held.
    async fn clear(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError>;

    /// Stores a definition under its digest and under namespace, name and version. Returns the stored one and whether it is new;
    /// one with the same name and version but another digest is left alone and returned.
    async fn put_definition(&self, definition: &StoredDefinition) -> Result<(StoredDefinition, bool), StoreError>;

    /// A definition by its address.
    async fn definition(&self, digest: &Digest) -> Result<Option<StoredDefinition>, StoreError>;

    /// The address of a definition by name: of that version, or of the one registered last.
    async fn find_digest(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<Digest>, StoreError>;

    /// A definition by name: that version, or the one registered last.
    async fn find_definition(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<StoredDefinition>, StoreError>;
}
