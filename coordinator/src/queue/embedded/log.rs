//! The port `Log`: appends through the writer, reads from memory where it can and from the table where it must.

use std::sync::Arc;

use async_trait::async_trait;
use redb::ReadTransaction;
use stepmill_protocol::{LogRecord, PartitionNo, RunId, Timestamp};

use super::append::Append;
use super::hot::{Hot, HotLog, Lane};
use super::{history, row};
use crate::port::queue::{Log, LogMessage, LogReader, QueueError, Source, Start};
use crate::store::embedded::{Core, LOG, MISC, key};

/// The log, in the embedded database.
pub(crate) struct EmbeddedLog {
    core: Arc<Core>,
    hot: Arc<HotLog>,
    identity: String,
}

impl EmbeddedLog {
    pub(crate) fn new(core: Arc<Core>, hot: Arc<HotLog>, identity: String) -> Self {
        Self { core, hot, identity }
    }

    /// Appends records that `source` wrote.
    pub(super) async fn append_from(
        &self,
        partition: PartitionNo,
        source: &Source,
        records: impl Iterator<Item = LogRecord> + Send,
    ) -> Result<Vec<u64>, QueueError> {
        let append = Append::new(Arc::clone(&self.hot), partition, source, records)?;
        Ok(self.core.write(append).await?)
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn append(&self, partition: PartitionNo, records: &[LogRecord]) -> Result<Vec<u64>, QueueError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.append_from(partition, &Source::Coordinator, records.iter().cloned()).await
    }

    async fn tail(&self, partition: PartitionNo) -> Result<u64, QueueError> {
        Ok(self.hot.lane(partition).tail())
    }

    async fn identity(&self) -> Result<String, QueueError> {
        Ok(self.identity.clone())
    }

    async fn time_at(&self, partition: PartitionNo, seq: u64) -> Result<Option<Timestamp>, QueueError> {
        let time = self.core.peek(|read| {
            let found = read.open_table(LOG)?.get(&key::log(partition, seq))?;
            Ok(found.map(|row| row::time(row.value())))
        });
        Ok(time.await?)
    }

    async fn first(&self) -> Result<u64, QueueError> {
        Ok(self.core.scan(first).await?)
    }

    async fn read(&self, partition: PartitionNo, start: Start) -> Result<Box<dyn LogReader>, QueueError> {
        let after = match start {
            Start::After(seq) => seq,
            Start::LaterThan(time) => self.core.scan(move |read| last_until(read, partition, time)).await?,
        };
        let lane = self.hot.lane(partition);
        Ok(Box::new(Reader { core: Arc::clone(&self.core), lane, partition, after }))
    }

    async fn snapshots(&self, partition: PartitionNo) -> Result<Vec<LogMessage>, QueueError> {
        Ok(self.core.scan(move |read| snapshots(read, partition)).await?)
    }

    async fn history(
        &self,
        partition: PartitionNo,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogMessage>, QueueError> {
        // Memory before table: what leaves memory is in the table by then.
        let pending = self.hot.pending.of(run, after);
        let messages = self.core.scan(move |read| history::read(read, partition, run, after, limit, pending));
        Ok(messages.await?)
    }
}

/// Reads one partition in order.
struct Reader {
    core: Arc<Core>,
    lane: Arc<Lane>,
    partition: PartitionNo,
    after: u64,
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<LogMessage>, QueueError> {
        let lane = Arc::clone(&self.lane);
        loop {
            let grown = lane.grown.notified();
            tokio::pin!(grown);
            // Listen first, then look: nothing that comes in between is missed.
            grown.as_mut().enable();
            let messages = match lane.after(self.after, max, max_bytes) {
                Hot::Messages(messages) => messages,
                Hot::Cold => {
                    let (partition, after) = (self.partition, self.after);
                    let cold = self.core.scan(move |read| cold(read, partition, after, max, max_bytes)).await?;
                    if cold.is_empty() {
                        // Nothing left in the table up to where memory begins.
                        self.after = lane.floor().max(self.after);
                        continue;
                    }
                    cold
                }
            };
            if let Some(last) = messages.last() {
                self.after = last.seq;
                return Ok(messages);
            }
            grown.await;
        }
    }
}

fn cold(
    read: &ReadTransaction,
    partition: PartitionNo,
    after: u64,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<LogMessage>, redb::Error> {
    let table = read.open_table(LOG)?;
    let (first, last) = (key::log(partition, after.saturating_add(1)), key::log(partition, u64::MAX));
    let mut bytes = 0_usize;
    let mut messages = Vec::new();
    for entry in table.range::<&[u8; 10]>(&first..=&last)?.take(max.max(1)) {
        let (key, value) = entry?;
        let message = row::read(key::seq_of(key.value()), value.value())?;
        bytes = bytes.saturating_add(message.bytes);
        if bytes > max_bytes && !messages.is_empty() {
            break;
        }
        messages.push(message);
    }
    Ok(messages)
}

/// The oldest message of any partition.
fn first(read: &ReadTransaction) -> Result<u64, redb::Error> {
    let table = read.open_table(LOG)?;
    let mut oldest: Option<u64> = None;
    let mut next = Some(PartitionNo(0));
    while let Some(from) = next {
        let Some(entry) = table.range::<&[u8; 10]>(&key::log(from, 0)..)?.next().transpose()? else { break };
        let (seq, partition) = (key::seq_of(entry.0.value()), key::partition_of(entry.0.value()));
        oldest = Some(oldest.map_or(seq, |known| known.min(seq)));
        next = partition.0.checked_add(1).map(PartitionNo);
    }
    Ok(oldest.unwrap_or(0))
}

/// The position of the partition's last message that was stored no later than `time`. Times grow with positions, so it is found
/// by halving.
fn last_until(read: &ReadTransaction, partition: PartitionNo, time: Timestamp) -> Result<u64, redb::Error> {
    let table = read.open_table(LOG)?;
    let end = key::log(partition, u64::MAX);
    let Some(last) = table.range::<&[u8; 10]>(&key::log(partition, 0)..=&end)?.next_back().transpose()? else {
        return Ok(0);
    };
    // Every message up to `low` is no later than `time`; every one from `high` on is later, or there is none.
    let (mut low, mut high) = (0, key::seq_of(last.0.value()).saturating_add(1));
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        match table.range::<&[u8; 10]>(&key::log(partition, middle)..=&end)?.next().transpose()? {
            Some((key, value)) if row::time(value.value()) <= time => low = key::seq_of(key.value()),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

fn snapshots(read: &ReadTransaction, partition: PartitionNo) -> Result<Vec<LogMessage>, redb::Error> {
    let (misc, log) = (read.open_table(MISC)?, read.open_table(LOG)?);
    let first = key::misc::snapshots_of(partition);
    let end = key::end_of(&first);
    let mut newest = Vec::new();
    for entry in misc.range::<&[u8]>(first.as_slice()..end.as_slice())? {
        let seq = u64::from_be_bytes(key::eight(entry?.1.value()));
        if let Some(row) = log.get(&key::log(partition, seq))? {
            newest.push(row::read(seq, row.value())?);
        }
    }
    newest.sort_by_key(|message| message.seq);
    Ok(newest)
}
