//! The log: appending, reading a partition in order, looking at single messages, snapshots and the history of a run.

use async_nats::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use stepmill_protocol::{PartitionNo, RunId, Timestamp};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::{Outgoing, Stored};
use crate::reader::{Read, Start, StreamReader, parse_rfc3339};
use crate::stream::StreamState;
use crate::subject::{self, LogSubject};

/// A record to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where to.
    pub subject: LogSubject,
    /// Duplicates with the same id within the stream's window (2 minutes) are stored once.
    pub id: Option<String>,
    /// The record.
    pub payload: Bytes,
}

/// A record as the log holds it.
#[derive(Clone, Debug)]
pub struct LogMessage {
    /// Its position.
    pub seq: u64,
    /// When the broker stored it.
    pub time: Timestamp,
    /// What its subject says; none where somebody published on a subject that we would not make.
    pub subject: Option<LogSubject>,
    /// The record.
    pub payload: Bytes,
}

impl From<Read> for LogMessage {
    fn from(read: Read) -> Self {
        let subject = LogSubject::parse(&read.subject);
        Self { seq: read.seq, time: read.time, subject, payload: read.payload }
    }
}

/// The log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    nats: Nats,
}

impl Log {
    /// The log that this connection reaches.
    #[must_use]
    pub const fn new(nats: Nats) -> Self {
        Self { nats }
    }

    /// Appends all records in this order, pipelined. A record can fail while a later one is stored.
    pub async fn append(&self, records: Vec<Append>) -> Vec<Result<Stored, NatsError>> {
        let outgoing = |r: Append| Outgoing { subject: r.subject.render(), id: r.id, again: false, payload: r.payload };
        self.nats.store_all(records.into_iter().map(outgoing).collect()).await
    }

    /// Where the log begins and ends, and which one it is (`incarnation`).
    ///
    /// # Errors
    /// [`NatsError::NotFound`] when there is no log.
    pub async fn state(&self) -> Result<StreamState, NatsError> {
        self.nats.stream_state(subject::LOG_STREAM).await
    }

    /// The record at a position, as the stream's leader sees it; none where it is gone or was never there.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn message(&self, seq: u64) -> Result<Option<LogMessage>, NatsError> {
        match self.nats.js_call(&format!("STREAM.MSG.GET.{}", subject::LOG_STREAM), &json!({"seq": seq})).await {
            Ok(answer) => stored_message(&answer).map(Some),
            Err(NatsError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The newest record of a partition, as the stream's leader sees it; none where it has none.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn last(&self, partition: PartitionNo) -> Result<Option<LogMessage>, NatsError> {
        let body = json!({"last_by_subj": subject::log_of(partition)});
        match self.nats.js_call(&format!("STREAM.MSG.GET.{}", subject::LOG_STREAM), &body).await {
            Ok(answer) => stored_message(&answer).map(Some),
            Err(NatsError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a partition from a position on.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not let us.
    pub async fn reader(&self, partition: PartitionNo, start: Start) -> Result<LogReader, NatsError> {
        let filter = subject::log_of(partition);
        Ok(LogReader { inner: StreamReader::open(&self.nats, subject::LOG_STREAM, &filter, start).await? })
    }

    /// The newest snapshot of each run of a partition.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not let us.
    pub async fn snapshots(&self, partition: PartitionNo) -> Result<SnapshotReader, NatsError> {
        let filter = subject::snapshots_of(partition);
        let inner = StreamReader::open(&self.nats, subject::LOG_STREAM, &filter, Start::LastPerSubject).await?;
        Ok(SnapshotReader { inner })
    }

    /// Records of a run after a position, oldest first. May return fewer than `max` though there are more; none at all
    /// only at the end.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn history(
        &self,
        partition: PartitionNo,
        run: RunId,
        after: u64,
        max: usize,
    ) -> Result<Vec<LogMessage>, NatsError> {
        let body = json!({
            "seq": after.saturating_add(1), "next_by_subj": subject::log_of_run(partition, run), "batch": max.max(1),
        });
        let found = self.nats.direct_batch(subject::LOG_STREAM, &body).await?;
        found.iter().map(direct_message).collect()
    }
}

/// Reads one partition of the log.
#[derive(Debug)]
pub struct LogReader {
    inner: StreamReader,
}

impl LogReader {
    /// Waits for a record and returns it with everything that has arrived behind it, up to the limits (one record
    /// is always given). Cancel safe.
    ///
    /// # Errors
    /// [`NatsError::Interrupted`] whenever a record could have been missed: check the cursor and open another reader.
    pub async fn next_batch(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<LogMessage>, NatsError> {
        let batch = self.inner.next_batch(messages_max, bytes_max).await?;
        Ok(batch.into_iter().map(LogMessage::from).collect())
    }

    /// How many more records the partition had when the last one was sent (or when the reader was opened).
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.inner.pending()
    }
}

/// Reads the newest snapshots.
#[derive(Debug)]
pub struct SnapshotReader {
    inner: StreamReader,
}

impl SnapshotReader {
    /// Some more of them; none at the end.
    ///
    /// # Errors
    /// [`NatsError::Interrupted`]: begin again.
    pub async fn next_batch(
        &mut self,
        messages_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Vec<LogMessage>>, NatsError> {
        if self.inner.pending() == 0 {
            return Ok(None);
        }
        let batch = self.inner.next_batch(messages_max, bytes_max).await?;
        Ok(Some(batch.into_iter().map(LogMessage::from).collect()))
    }
}

/// Reads the answer of `STREAM.MSG.GET`.
fn stored_message(answer: &Value) -> Result<LogMessage, NatsError> {
    let text = |field: &str| answer.pointer(&format!("/message/{field}")).and_then(Value::as_str).unwrap_or("");
    let seq = answer.pointer("/message/seq").and_then(Value::as_u64);
    let seq = seq.ok_or_else(|| NatsError::malformed("a stored message", "it has no sequence"))?;
    let payload = STANDARD.decode(text("data")).map_err(|e| NatsError::malformed("a stored message", e))?;
    Ok(LogMessage {
        seq,
        time: parse_rfc3339(text("time"))?,
        subject: LogSubject::parse(text("subject")),
        payload: payload.into(),
    })
}

/// Reads a message of a direct get, whose place is told in headers.
fn direct_message(message: &Message) -> Result<LogMessage, NatsError> {
    let missing = || NatsError::malformed("a stored message", "a header is missing");
    let headers = message.headers.as_ref().ok_or_else(missing)?;
    let header = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    Ok(LogMessage {
        seq: header("Nats-Sequence").and_then(|s| s.parse().ok()).ok_or_else(missing)?,
        time: parse_rfc3339(header("Nats-Time-Stamp").ok_or_else(missing)?)?,
        subject: header("Nats-Subject").and_then(LogSubject::parse),
        payload: message.payload.clone(),
    })
}
