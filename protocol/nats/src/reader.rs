//! Reads a stream in order without acks, through a consumer of its own that the broker forgets with us. Never skips:
//! whatever could mean that a message was missed (a gap, silence, a new connection) ends the reader with an error.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use stepmill_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::wire::{AckSubject, PullRequest, Status, nanos, status_of};

/// Messages asked for at a time; the next request goes out when half of them have come.
const BATCH: usize = 1024;
/// Bytes asked for at a time. Bounds what lies in memory; above any one message.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How long one request for messages stands.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the broker says that it is there while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which we no longer believe in the consumer.
const SILENCE_MAX: Duration = Duration::from_millis(3_500);
/// When the broker forgets a consumer that nobody asks any more.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this sequence, or the first after it.
    Seq(u64),
    /// With the first message stored at or after this time.
    Time(Timestamp),
    /// The newest message of each subject.
    LastPerSubject,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) headers: Option<HeaderMap>,
}

#[derive(Debug)]
pub(crate) struct StreamReader {
    nats: Nats,
    what: String,
    pull_subject: String,
    inbox: Subject,
    arrivals: Subscriber,
    generation: watch::Receiver<u64>,
    /// Messages that were asked for and have not come.
    credit: usize,
    /// The broker numbers what it delivers to us without gaps.
    delivered: u64,
    /// What the consumer had left after the last message.
    pending: u64,
    /// A message that did not fit into the batch before.
    held: Option<Read>,
    /// Since when nothing has come although we looked; kept over calls that were given up.
    silent_since: Option<Instant>,
}

impl StreamReader {
    pub(crate) async fn open(nats: &Nats, stream: &str, filter: &str, start: Start) -> Result<Self, NatsError> {
        let generation = nats.generation();
        let name = format!("sm-read-{}", Uuid::new_v4().simple());
        let mut config = json!({
            "name": name, "filter_subject": filter, "ack_policy": "none", "replay_policy": "instant",
            "mem_storage": true, "num_replicas": 1, "inactive_threshold": nanos(FORGET_AFTER), "max_waiting": 16,
        });
        match start {
            Start::Seq(seq) => {
                config["deliver_policy"] = json!("by_start_sequence");
                config["opt_start_seq"] = json!(seq.max(1));
            }
            Start::Time(time) => {
                config["deliver_policy"] = json!("by_start_time");
                config["opt_start_time"] = json!(rfc3339(time)?);
            }
            Start::LastPerSubject => config["deliver_policy"] = json!("last_per_subject"),
        }
        let inbox = Subject::from(nats.inner.client.new_inbox());
        let arrivals = nats.inner.client.subscribe(inbox.clone()).await.map_err(|e| NatsError::Refused {
            what: "the subscription of a reader".into(),
            code: 0,
            text: e.to_string(),
            retryable: true,
        })?;
        let body = json!({"stream_name": stream, "config": config, "action": "create"});
        let info = nats.js_call(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await?;
        Ok(Self {
            nats: nats.clone(),
            what: format!("{stream} ({filter})"),
            pull_subject: format!("{}.CONSUMER.MSG.NEXT.{stream}.{name}", nats.inner.js),
            inbox,
            arrivals,
            generation,
            credit: 0,
            delivered: 0,
            pending: info.get("num_pending").and_then(Value::as_u64).unwrap_or(0),
            held: None,
            silent_since: None,
        })
    }

    /// How many more messages the broker had for us when it sent the last one (or at the beginning).
    pub(crate) fn pending(&self) -> u64 {
        self.pending
    }

    /// Waits for a message and returns it with everything that has arrived behind it, up to the limits (one
    /// message is always given). Cancel safe.
    pub(crate) async fn next_batch(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<Read>, NatsError> {
        loop {
            self.check_generation()?;
            self.top_up().await?;
            // Looked at only after the last await: nothing is lost when this future is dropped.
            let first = if self.held.is_none() { Some(self.arrival().await?) } else { None };
            let mut batch: Vec<Read> = self.held.take().into_iter().collect();
            let mut bytes: usize = batch.iter().map(|read| read.payload.len()).sum();
            let mut next = first;
            while batch.len() < messages_max.max(1) && (bytes < bytes_max || batch.is_empty()) {
                let Some(message) = next.take().or_else(|| self.arrivals.next().now_or_never().flatten()) else {
                    break;
                };
                let Some(read) = self.accept(message)? else { continue };
                if !batch.is_empty() && bytes + read.payload.len() > bytes_max {
                    self.held = Some(read);
                    break;
                }
                bytes += read.payload.len();
                batch.push(read);
            }
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    fn check_generation(&self) -> Result<(), NatsError> {
        match self.generation.has_changed() {
            Ok(false) => Ok(()),
            _ => Err(NatsError::interrupted(&self.what, "the connection was broken meanwhile")),
        }
    }

    async fn top_up(&mut self) -> Result<(), NatsError> {
        if self.credit > BATCH / 2 {
            return Ok(());
        }
        let pull = PullRequest::waiting(BATCH, PULL_EXPIRES).watched(HEARTBEAT, BATCH_BYTES);
        let sent = self
            .nats
            .inner
            .client
            .publish_with_reply(self.pull_subject.clone(), self.inbox.clone(), pull.payload())
            .await;
        sent.map_err(|e| NatsError::interrupted(&self.what, e.to_string()))?;
        self.credit += BATCH;
        Ok(())
    }

    async fn arrival(&mut self) -> Result<Message, NatsError> {
        if let Some(Some(message)) = self.arrivals.next().now_or_never() {
            self.silent_since = None;
            return Ok(message);
        }
        // The caller may have been away for long: silence counts from when we first found nothing.
        let silence_ends = *self.silent_since.get_or_insert_with(Instant::now) + SILENCE_MAX;
        let reason = tokio::select! {
            biased;
            message = self.arrivals.next() => match message {
                Some(message) => {
                    self.silent_since = None;
                    return Ok(message);
                }
                None => "the connection is closed",
            },
            _ = self.generation.changed() => "the connection was broken meanwhile",
            () = tokio::time::sleep_until(silence_ends) => "the broker gives no sign of life",
        };
        Err(NatsError::interrupted(&self.what, reason))
    }

    fn accept(&mut self, message: Message) -> Result<Option<Read>, NatsError> {
        match status_of(&message) {
            None => {}
            Some(Status::Heartbeat { last_consumer_seq }) => {
                return match last_consumer_seq {
                    Some(last) if last != self.delivered => Err(self.gap(last)),
                    _ => Ok(None),
                };
            }
            Some(Status::PullOver { undelivered }) => {
                self.credit = self.credit.saturating_sub(undelivered);
                return Ok(None);
            }
            Some(Status::Gone { reason }) => return Err(NatsError::interrupted(&self.what, reason)),
            Some(Status::EndOfBatch { .. } | Status::NotFound) => return Ok(None),
        }
        let info = message.reply.as_ref().and_then(|reply| AckSubject::parse(reply));
        let Some(info) = info else {
            return Err(NatsError::interrupted(&self.what, "a message came without its sequence"));
        };
        if info.consumer_seq != self.delivered + 1 {
            return Err(self.gap(info.consumer_seq));
        }
        self.delivered += 1;
        self.credit = self.credit.saturating_sub(1);
        self.pending = info.pending;
        let (seq, time) = (info.stream_seq, info.time);
        Ok(Some(Read { seq, time, subject: message.subject, payload: message.payload, headers: message.headers }))
    }

    fn gap(&self, found: u64) -> NatsError {
        NatsError::interrupted(&self.what, format!("delivery {found} came after delivery {}", self.delivered))
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        // Best effort: the broker forgets the consumer by itself when nobody asks for messages any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let nats = self.nats.clone();
        let delete = self.pull_subject.replacen("CONSUMER.MSG.NEXT", "CONSUMER.DELETE", 1);
        runtime.spawn(async move {
            let _ = nats.publish(&delete, Bytes::new()).await;
        });
    }
}

pub(crate) fn rfc3339(time: Timestamp) -> Result<String, NatsError> {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    let text =
        jiff::Timestamp::from_millisecond(millis).map_err(|e| NatsError::malformed("the time to begin at", e))?;
    Ok(text.to_string())
}

pub(crate) fn parse_rfc3339(text: &str) -> Result<Timestamp, NatsError> {
    let time: jiff::Timestamp = text.parse().map_err(|e| NatsError::malformed("the time of a message", e))?;
    Ok(Timestamp(u64::try_from(time.as_millisecond()).unwrap_or(0)))
}
