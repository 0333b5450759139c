//! A message of the log: in memory with its record, in the table as a head and the encoded record.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | time, big-endian milliseconds |
//! | 16 | run |
//! | 1 | writer: 0 coordinator, 1 worker, 2 snapshot |
//! | 1 + n | length and name of the worker's pool (length 0 otherwise) |
//! | rest | the record, MessagePack |

use std::sync::Arc;

use stepmill_protocol::codec::unpack;
use stepmill_protocol::{LogRecord, PoolName, RunId, Timestamp};

use crate::port::queue::{LogMessage, Source};
use crate::store::embedded::key::{eight, run_at};

const HEAD: usize = 8 + 16 + 1 + 1;

/// A message that was just stored.
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) source: Source,
    pub(crate) bytes: usize,
    pub(crate) record: Arc<LogRecord>,
}

impl Entry {
    pub(crate) fn message(&self) -> LogMessage {
        LogMessage {
            seq: self.seq,
            at: self.at,
            source: self.source.clone(),
            run: self.record.run,
            bytes: self.bytes,
            record: Ok((*self.record).clone()),
        }
    }
}

/// Head and record.
pub(crate) fn write(at: Timestamp, run: RunId, source: &Source, record: &[u8]) -> Vec<u8> {
    let (writer, pool) = match source {
        Source::Coordinator => (0, ""),
        Source::Worker(pool) => (1, pool.as_str()),
        Source::Snapshot => (2, ""),
    };
    let mut row = Vec::with_capacity(HEAD + pool.len() + record.len());
    row.extend_from_slice(&at.0.to_be_bytes());
    row.extend_from_slice(run.0.as_bytes());
    row.push(writer);
    row.push(u8::try_from(pool.len()).unwrap_or(u8::MAX));
    row.extend_from_slice(pool.as_bytes());
    row.extend_from_slice(record);
    row
}

/// The time of a row.
pub(crate) fn time(row: &[u8]) -> Timestamp {
    Timestamp(u64::from_be_bytes(eight(row)))
}

/// The run of a row.
pub(crate) fn run(row: &[u8]) -> RunId {
    run_at(row.get(8..).unwrap_or_default())
}

/// Whether a row is a snapshot.
pub(crate) fn is_snapshot(row: &[u8]) -> bool {
    row.get(24) == Some(&2)
}

/// Reads a row.
pub(crate) fn read(seq: u64, row: &[u8]) -> Result<LogMessage, redb::Error> {
    let damaged = || redb::Error::Corrupted(format!("message {seq} of the log has no head"));
    let (head, rest) = row.split_at_checked(HEAD).ok_or_else(damaged)?;
    let (pool, record) = rest.split_at_checked(usize::from(head[HEAD - 1])).ok_or_else(damaged)?;
    let source = match head[24] {
        0 => Source::Coordinator,
        1 => Source::Worker(std::str::from_utf8(pool).ok().and_then(|p| PoolName::new(p).ok()).ok_or_else(damaged)?),
        2 => Source::Snapshot,
        _ => return Err(damaged()),
    };
    Ok(LogMessage {
        seq,
        at: time(row),
        source,
        run: run(row),
        bytes: record.len(),
        record: unpack(record).map_err(|e| e.to_string()),
    })
}
