//! A log that does not take the start of a child.

use std::sync::Arc;

use async_trait::async_trait;
use stepmill_coordinator::Ports;
use stepmill_coordinator::port::queue::{Log, LogMessage, LogReader, QueueError, Start};
use stepmill_protocol::{Event, LogRecord, PartitionNo, RunId, Timestamp};
use tokio::sync::watch;

pub(super) struct PickyLog {
    log: Arc<dyn Log>,
    refused: watch::Sender<bool>,
}

impl PickyLog {
    /// Puts one between.
    pub(super) fn over(ports: &mut Ports) -> Arc<Self> {
        let picky = Arc::new(Self { log: ports.log.clone(), refused: watch::Sender::new(false) });
        ports.log = picky.clone();
        picky
    }

    /// Waits until it has refused one.
    pub(super) async fn has_refused(&self) {
        self.refused.subscribe().wait_for(|refused| *refused).await.unwrap();
    }
}

#[async_trait]
impl Log for PickyLog {
    async fn append(&self, partition: PartitionNo, records: &[LogRecord]) -> Result<Vec<u64>, QueueError> {
        let starts = |record: &LogRecord| matches!(&record.event, Event::Submitted(s) if s.parent.is_some() && s.cancelled.is_none());
        if records.iter().any(starts) {
            self.refused.send_replace(true);
            return Err(QueueError { message: "not now".into(), retryable: true });
        }
        self.log.append(partition, records).await
    }

    async fn tail(&self, partition: PartitionNo) -> Result<u64, QueueError> {
        self.log.tail(partition).await
    }

    async fn identity(&self) -> Result<String, QueueError> {
        self.log.identity().await
    }

    async fn time_at(&self, partition: PartitionNo, seq: u64) -> Result<Option<Timestamp>, QueueError> {
        self.log.time_at(partition, seq).await
    }

    async fn first(&self) -> Result<u64, QueueError> {
        self.log.first().await
    }

    async fn read(&self, partition: PartitionNo, start: Start) -> Result<Box<dyn LogReader>, QueueError> {
        self.log.read(partition, start).await
    }

    async fn snapshots(&self, partition: PartitionNo) -> Result<Vec<LogMessage>, QueueError> {
        self.log.snapshots(partition).await
    }

    async fn history(
        &self,
        partition: PartitionNo,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogMessage>, QueueError> {
        self.log.history(partition, run, after, limit).await
    }
}
