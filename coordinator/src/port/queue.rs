//! Ports: the log (the only input of the engine), the task queues, the jobs that were submitted by publishing, the definitions
//! that outlive the store, and the dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use stepmill_protocol::{
    CommandId, DeadLetter, LogRecord, Namespace, PartitionNo, PoolName, RunId, Task, Timestamp, WorkflowName,
};

use super::store::{Published, StoredDefinition};

/// Why a queue did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueueError {
    /// What happened, and what to do.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: bool,
}

/// Who wrote a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A coordinator.
    Coordinator,
    /// A worker of this pool: only reports are taken from it.
    Worker(PoolName),
    /// A coordinator, a snapshot.
    Snapshot,
}

/// One message of the log.
#[derive(Clone, Debug)]
pub struct LogMessage {
    /// Its position.
    pub seq: u64,
    /// When the log stored it.
    pub at: Timestamp,
    /// Who wrote it.
    pub source: Source,
    /// Whose it is, from its address.
    pub run: RunId,
    /// Its encoded size.
    pub bytes: usize,
    /// The record, or why it cannot be read.
    pub record: Result<LogRecord, String>,
}

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this position (0: from the beginning).
    After(u64),
    /// With the first message stored later than this.
    LaterThan(Timestamp),
}

/// The log. Records of one partition have one order; positions grow but may have gaps.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends records (of any runs of the partition, in order); resolves when all are stored. Snapshots go to their own address.
    async fn append(&self, partition: PartitionNo, records: &[LogRecord]) -> Result<Vec<u64>, QueueError>;

    /// The position of the partition's last record; 0 where there is none.
    async fn tail(&self, partition: PartitionNo) -> Result<u64, QueueError>;

    /// The log's identity: changes when it is made anew.
    async fn identity(&self) -> Result<String, QueueError>;

    /// The time of the partition's record at this position; none if there is no such record (any more).
    async fn time_at(&self, partition: PartitionNo, seq: u64) -> Result<Option<Timestamp>, QueueError>;

    /// The position of the oldest message still kept (of any partition); 0 where the log is empty.
    async fn first(&self) -> Result<u64, QueueError>;

    /// Opens a reader.
    async fn read(&self, partition: PartitionNo, start: Start) -> Result<Box<dyn LogReader>, QueueError>;

    /// The newest snapshot of each run of the partition.
    async fn snapshots(&self, partition: PartitionNo) -> Result<Vec<LogMessage>, QueueError>;

    /// What the log holds of a run after a position, oldest first, without snapshots.
    async fn history(
        &self,
        partition: PartitionNo,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogMessage>, QueueError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait LogReader: Send {
    /// Waits for at least one message and returns what is there, up to the limits. After an error the reader is of no use: check the
    /// cursor against the log and open a new one. Safe to cancel: a message is not lost when the future is dropped.
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<LogMessage>, QueueError>;
}

/// A task on its way to its pool.
#[derive(Clone, Debug)]
pub struct OutgoingTask {
    /// The task.
    pub task: Task,
    /// For the broker's duplicate window.
    pub message_id: String,
    /// Published before, perhaps: the worker must ask before it runs it.
    pub again: bool,
}

/// How much there is to do in a pool's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Tasks that no worker has taken.
    pub waiting: u64,
    /// How long the oldest of them has waited; zero where none waits.
    pub oldest: Duration,
    /// Tasks that workers have taken and not finished, also those that wait out a delay between two tries.
    pub running: u64,
}

/// The task queues.
#[async_trait]
pub trait Tasks: Send + Sync + 'static {
    /// Makes sure that the pool's queue exists.
    async fn ensure(&self, pool: &PoolName) -> Result<(), QueueError>;

    /// Publishes tasks, pipelined; one answer each, in order.
    async fn publish(&self, tasks: Vec<OutgoingTask>) -> Vec<Result<Published, QueueError>>;

    /// Where the messages of these dispatches lie in the queue; none for one that has no message there. One answer each. Asked after a
    /// takeover, so that what an earlier owner has published is not published again.
    async fn find(&self, pool: &PoolName, ids: &[CommandId]) -> Result<Vec<Option<Published>>, QueueError>;

    /// Of these messages, which are no longer in the queue (done, or lost with it)? One answer each.
    async fn gone(&self, pool: &PoolName, messages: &[Published]) -> Result<Vec<bool>, QueueError>;

    /// What waits in each pool's queue at this moment, and what workers have of it. Every pool that has a queue is named.
    async fn backlogs(&self) -> Result<BTreeMap<PoolName, Backlog>, QueueError>;

    /// Takes messages out of the queue, as far as they are still there. Best effort.
    async fn remove(&self, pool: &PoolName, messages: &[Published]);
}

/// A job that was submitted by publishing.
#[derive(Clone, Debug)]
pub struct Job {
    /// From the subject.
    pub namespace: Namespace,
    /// From the subject.
    pub workflow: WorkflowName,
    /// The message id, used as idempotency key.
    pub key: Option<String>,
    /// The message: the run's input as JSON or MessagePack.
    pub input: Result<serde_json::Value, String>,
    /// For [`Jobs::done`].
    pub ack: String,
}

/// Jobs that were submitted by publishing.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// Waits for jobs, at most `max`; may return none after a while.
    async fn next(&self, max: usize) -> Result<Vec<Job>, QueueError>;
    /// The job's run is committed (or the job was put aside): remove it.
    async fn done(&self, job: &Job) -> Result<(), QueueError>;
    /// Give it out again after a delay.
    async fn later(&self, job: &Job, delay: Duration) -> Result<(), QueueError>;
}

/// Definitions and dead letters, kept beside the log.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Keeps a definition, so that an emptied store can be filled again.
    async fn keep_definition(&self, definition: &StoredDefinition) -> Result<(), QueueError>;
    /// All that are kept.
    async fn definitions(&self) -> Result<Vec<StoredDefinition>, QueueError>;
    /// Puts a letter to the dead ones; resolves when it is stored.
    async fn bury(&self, letter: &DeadLetter) -> Result<(), QueueError>;
}
