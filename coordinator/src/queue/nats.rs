//! The ports over `stepmill-nats`: translates, decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use stepmill_nats::subject::{LogSubject, LogWriter};
use stepmill_nats::{Append, Nats, NatsError, StreamOptions, TaskMessage, TaskQueues};
use stepmill_protocol::{Event, LogRecord, PartitionNo, PoolName, RunId, Timestamp, codec};

use crate::port::queue::{Log, LogMessage, LogReader, OutgoingTask, QueueError, Source, Start, Tasks};
use crate::port::store::Published;

/// Messages that a sweep looks at in one go.
const LOOKS_AT_A_TIME: usize = 64;

pub(super) fn error(e: NatsError) -> QueueError {
    QueueError { retryable: e.is_retryable(), message: e.to_string() }
}

fn unreadable(e: impl std::fmt::Display) -> QueueError {
    QueueError { message: e.to_string(), retryable: false }
}

/// The log in `SM_LOG`.
pub struct NatsLog {
    log: stepmill_nats::Log,
}

impl NatsLog {
    /// The log that this connection reaches; its stream must exist.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { log: stepmill_nats::Log::new(nats) }
    }
}

fn message(message: stepmill_nats::LogMessage) -> Option<LogMessage> {
    let LogSubject { run, writer, .. } = message.subject?;
    let source = match writer {
        LogWriter::Coordinator => Source::Coordinator,
        LogWriter::Worker(pool) => Source::Worker(pool),
        LogWriter::Snapshot => Source::Snapshot,
    };
    Some(LogMessage {
        seq: message.seq,
        at: message.time,
        source,
        run,
        bytes: message.payload.len(),
        record: codec::unpack(&message.payload).map_err(|e| e.to_string()),
    })
}

#[async_trait]
impl Log for NatsLog {
    async fn append(&self, partition: PartitionNo, records: &[LogRecord]) -> Result<Vec<u64>, QueueError> {
        let mut appends = Vec::with_capacity(records.len());
        for record in records {
            let writer = match record.event {
                Event::Snapshot { .. } => LogWriter::Snapshot,
                Event::Submitted(_)
                | Event::Report(_)
                | Event::Signal { .. }
                | Event::TimerDue { .. }
                | Event::Cancel { .. }
                | Event::Resume { .. }
                | Event::TaskLost { .. }
                | Event::Park { .. } => LogWriter::Coordinator,
            };
            let subject = LogSubject { partition, run: record.run, writer };
            let payload = Bytes::from(codec::pack(record).map_err(unreadable)?);
            appends.push(Append { subject, id: None, payload });
        }
        self.log.append(appends).await.into_iter().map(|stored| stored.map(|s| s.seq).map_err(error)).collect()
    }

    async fn tail(&self, partition: PartitionNo) -> Result<u64, QueueError> {
        Ok(self.log.last(partition).await.map_err(error)?.map_or(0, |m| m.seq))
    }

    async fn identity(&self) -> Result<String, QueueError> {
        Ok(self.log.state().await.map_err(error)?.incarnation)
    }

    async fn time_at(&self, partition: PartitionNo, seq: u64) -> Result<Option<Timestamp>, QueueError> {
        if seq == 0 {
            return Ok(None);
        }
        let message = self.log.message(seq).await.map_err(error)?;
        Ok(message.filter(|m| m.subject.as_ref().is_some_and(|s| s.partition == partition)).map(|m| m.time))
    }

    async fn first(&self) -> Result<u64, QueueError> {
        let state = self.log.state().await.map_err(error)?;
        Ok(if state.messages == 0 { 0 } else { state.first_seq })
    }

    async fn read(&self, partition: PartitionNo, start: Start) -> Result<Box<dyn LogReader>, QueueError> {
        let start = match start {
            Start::After(seq) => stepmill_nats::Start::Seq(seq + 1),
            Start::LaterThan(at) => stepmill_nats::Start::Time(Timestamp(at.0 + 1)),
        };
        Ok(Box::new(Reader { reader: self.log.reader(partition, start).await.map_err(error)? }))
    }

    async fn snapshots(&self, partition: PartitionNo) -> Result<Vec<LogMessage>, QueueError> {
        let mut reader = self.log.snapshots(partition).await.map_err(error)?;
        let mut all = Vec::new();
        while let Some(batch) = reader.next_batch(1_000, 16 << 20).await.map_err(error)? {
            all.extend(batch.into_iter().filter_map(message));
        }
        Ok(all)
    }

    async fn history(
        &self,
        partition: PartitionNo,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogMessage>, QueueError> {
        let mut entries = Vec::new();
        let mut after = after;
        while entries.len() < limit {
            let batch = self.log.history(partition, run, after, limit - entries.len()).await.map_err(error)?;
            let Some(last) = batch.last() else { break };
            after = last.seq;
            entries.extend(batch.into_iter().filter_map(message).filter(|m| m.source != Source::Snapshot));
        }
        Ok(entries)
    }
}

struct Reader {
    reader: stepmill_nats::LogReader,
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<LogMessage>, QueueError> {
        loop {
            let batch = self.reader.next_batch(max, max_bytes).await.map_err(error)?;
            let known: Vec<LogMessage> = batch.into_iter().filter_map(message).collect();
            if !known.is_empty() {
                return Ok(known);
            }
        }
    }
}

/// The pools' queues in `SM_TASKS_<pool>`.
pub struct NatsTasks {
    queues: TaskQueues,
    /// Pools whose queue was there when last looked at, with its identity.
    known: Mutex<HashMap<PoolName, Arc<str>>>,
}

impl NatsTasks {
    /// The queues that this connection reaches; `options` for those that have to be made.
    #[must_use]
    pub fn new(nats: Nats, options: StreamOptions) -> Self {
        Self { queues: TaskQueues::new(nats, options), known: Mutex::default() }
    }

    fn forget(&self, pool: &PoolName) {
        self.known.lock().remove(pool);
    }
}

#[async_trait]
impl Tasks for NatsTasks {
    async fn ensure(&self, pool: &PoolName) -> Result<(), QueueError> {
        if self.known.lock().contains_key(pool) {
            return Ok(());
        }
        self.queues.ensure(pool).await.map_err(error)?;
        if let Some(state) = self.queues.state(pool).await.map_err(error)? {
            self.known.lock().insert(pool.clone(), state.incarnation.into());
        }
        Ok(())
    }

    async fn publish(&self, tasks: Vec<OutgoingTask>) -> Vec<Result<Published, QueueError>> {
        let count = tasks.len();
        let mut pools = Vec::with_capacity(count);
        let mut messages = Vec::with_capacity(count);
        for outgoing in tasks {
            let OutgoingTask { task, again, .. } = outgoing;
            if !self.known.lock().contains_key(&task.pool) {
                let message = format!("the queue of pool `{}` has not been seen yet", task.pool);
                return std::iter::repeat_n(Err(QueueError { message, retryable: true }), count).collect();
            }
            let payload = match codec::pack(&task) {
                Ok(bytes) => Bytes::from(bytes),
                Err(e) => return std::iter::repeat_n(Err(unreadable(e)), count).collect(),
            };
            pools.push(task.pool.clone());
            messages.push(TaskMessage {
                id: task.id,
                pool: task.pool,
                priority: task.priority,
                kind: task.kind,
                again,
                payload,
            });
        }
        // Taken before publishing: a queue that is made anew meanwhile then looks foreign to the sweep, never the other way round.
        let identities: Vec<Option<Arc<str>>> = {
            let known = self.known.lock();
            pools.iter().map(|pool| known.get(pool).cloned()).collect()
        };
        let results = self.queues.publish(messages).await;
        results
            .into_iter()
            .zip(pools.iter().zip(identities))
            .map(|(stored, (pool, identity))| match stored {
                Ok(stored) => {
                    Ok(Published { seq: stored.seq, stream: identity.map(|i| i.to_string()).unwrap_or_default() })
                }
                Err(e) => {
                    self.forget(pool);
                    Err(error(e))
                }
            })
            .collect()
    }

    async fn gone(&self, pool: &PoolName, messages: &[Published]) -> Result<Vec<bool>, QueueError> {
        let Some(state) = self.queues.state(pool).await.map_err(error)? else {
            self.forget(pool);
            return Ok(vec![true; messages.len()]);
        };
        let known_as = self.known.lock().get(pool).cloned();
        if known_as.is_some_and(|identity| *identity != *state.incarnation) {
            self.forget(pool);
        }
        let delivered = self.queues.delivered(pool).await.map_err(error)?;
        let mut gone = Vec::with_capacity(messages.len());
        for chunk in messages.chunks(LOOKS_AT_A_TIME) {
            let looks = chunk.iter().map(|at| async {
                let foreign = at.stream != state.incarnation || at.seq < state.first_seq || at.seq > state.last_seq;
                if foreign {
                    Ok(true)
                } else if at.seq > delivered {
                    Ok(false)
                } else {
                    self.queues.exists(pool, at.seq).await.map(|exists| !exists).map_err(error)
                }
            });
            for look in futures::future::join_all(looks).await {
                gone.push(look?);
            }
        }
        Ok(gone)
    }

    async fn remove(&self, pool: &PoolName, messages: &[Published]) {
        let all = messages.iter().map(|at| async {
            if let Err(e) = self.queues.remove(pool, at.seq).await {
                tracing::debug!(%pool, seq = at.seq, error = %e, "a useless task stays in its queue");
            }
        });
        futures::future::join_all(all).await;
    }
}

/// How long an answer of the owner may take at the most before nobody waits any more.
pub(super) const ANSWER_KEPT: Duration = Duration::from_secs(60);
