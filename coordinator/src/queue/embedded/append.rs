//! The write that appends to the log.

use std::sync::Arc;

use stepmill_protocol::codec::pack;
use stepmill_protocol::{Event, LogRecord, PartitionNo};

use super::hot::HotLog;
use super::row::{self, Entry};
use crate::port::queue::{QueueError, Source};
use crate::store::embedded::{Tables, Write, key};

/// Records of one partition on their way into the log.
pub(super) struct Append {
    partition: PartitionNo,
    records: Vec<Encoded>,
    entries: Vec<Entry>,
    hot: Arc<HotLog>,
}

struct Encoded {
    source: Source,
    bytes: Vec<u8>,
    record: Arc<LogRecord>,
}

impl Append {
    /// Encodes the records, on the caller's thread.
    pub(super) fn new(
        hot: Arc<HotLog>,
        partition: PartitionNo,
        source: &Source,
        records: impl Iterator<Item = LogRecord>,
    ) -> Result<Self, QueueError> {
        let encode = |record: LogRecord| -> Result<Encoded, QueueError> {
            let bytes = pack(&record).map_err(|e| QueueError { message: e.to_string(), retryable: false })?;
            let source = match record.event {
                Event::Snapshot { .. } => Source::Snapshot,
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
                | Event::Operated(_) => source.clone(),
            };
            Ok(Encoded { source, bytes, record: Arc::new(record) })
        };
        let records = records.map(encode).collect::<Result<_, _>>()?;
        Ok(Self { partition, records, entries: Vec::new(), hot })
    }
}

impl Write for Append {
    type Out = Vec<u64>;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        for Encoded { source, bytes, record } in std::mem::take(&mut self.records) {
            let seq = tables.counters.next_log();
            let row = row::write(tables.now, record.run, &source, &bytes);
            tables.log.insert(&key::log(self.partition, seq), row.as_slice())?;
            if source == Source::Snapshot {
                let pointer = key::misc::snapshot(self.partition, record.run);
                tables.misc.insert(pointer.as_slice(), seq.to_be_bytes().as_slice())?;
            }
            self.entries.push(Entry { seq, at: tables.now, source, bytes: bytes.len(), record });
        }
        Ok(())
    }

    fn stored(self) -> Vec<u64> {
        let seqs = self.entries.iter().map(|e| e.seq).collect();
        self.hot.push(self.partition, self.entries);
        seqs
    }
}
