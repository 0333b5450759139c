//! The log in `SM_LOG`.

use async_trait::async_trait;
use bytes::Bytes;
use stepmill_nats::subject::{LogSubject, LogWriter};
use stepmill_nats::{Append, Nats};
use stepmill_protocol::{Event, LogRecord, PartitionNo, RunId, Timestamp, codec};

use super::{error, unreadable};
use crate::port::queue::{Log, LogMessage, LogReader, QueueError, Source, Start};

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

/// A message of the log. One on a subject that we would not make is kept, as unreadable: it has a place that the cursor must pass.
fn message(message: stepmill_nats::LogMessage) -> LogMessage {
    let bytes = message.payload.len();
    let (run, source, record) = match message.subject {
        Some(LogSubject { run, writer, .. }) => {
            let source = match writer {
                LogWriter::Coordinator => Source::Coordinator,
                LogWriter::Worker(pool) => Source::Worker(pool),
                LogWriter::Snapshot => Source::Snapshot,
            };
            (run, source, codec::unpack(&message.payload).map_err(|e| e.to_string()))
        }
        None => (RunId(uuid::Uuid::nil()), Source::Coordinator, Err("its subject is not one of the log's".to_owned())),
    };
    LogMessage { seq: message.seq, at: message.time, source, run, bytes, record }
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
                | Event::Acted { .. }
                | Event::ChildEnded { .. }
                | Event::Park { .. }
                | Event::Occurred(_)
                | Event::Operated(_) => LogWriter::Coordinator,
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
        // A stray subject counts: the cursor may stand on it.
        Ok(message.filter(|m| m.subject.as_ref().is_none_or(|s| s.partition == partition)).map(|m| m.time))
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
            all.extend(batch.into_iter().map(message));
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
            entries.extend(batch.into_iter().map(message).filter(|m| m.source != Source::Snapshot));
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
        let batch = self.reader.next_batch(max, max_bytes).await.map_err(error)?;
        Ok(batch.into_iter().map(message).collect())
    }
}
