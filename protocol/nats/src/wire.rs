//! What JetStream writes on the wire around a delivery: the ack subject, the status messages, the pull request.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use stepmill_protocol::Timestamp;

/// Ends of a pull request that say nothing against the next one.
const PULL_OVER: [&str; 4] = ["Batch Completed", "Exceeds MaxBytes", "Server Shutdown", "Leadership Change"];
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the ack subject of a delivery says. Both forms of ADR-15 are read: 9 tokens, or 11 and more with domain and
/// account hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckSubject<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) deliveries: u64,
    pub(crate) stream_seq: u64,
    pub(crate) consumer_seq: u64,
    pub(crate) time: Timestamp,
    /// What the consumer still has for us.
    pub(crate) pending: u64,
}

impl<'a> AckSubject<'a> {
    pub(crate) fn parse(subject: &'a str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        // `$JS.ACK.` and 7 tokens, or domain, account hash and 7 tokens or more.
        let skipped = if rest.split('.').count() >= 9 { 2 } else { 0 };
        let mut tokens = rest.split('.').skip(skipped);
        let _stream = tokens.next()?;
        let consumer = tokens.next()?;
        let mut number = || tokens.next().and_then(|t| t.parse::<u64>().ok());
        let (deliveries, stream_seq, consumer_seq) = (number()?, number()?, number()?);
        let time = Timestamp(number()? / NANOS_PER_MILLI);
        let pending = number()?;
        Some(Self { consumer, deliveries, stream_seq, consumer_seq, time, pending })
    }
}

/// A status that comes in place of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The consumer lives; its last delivery, where the server says.
    Heartbeat { last_consumer_seq: Option<u64> },
    /// This pull request is over, with so many messages not delivered.
    PullOver { undelivered: usize },
    /// The consumer or its stream is gone, or we may not use it.
    Gone { reason: String },
    /// The end of a batch of direct gets; what is left there, where the server says.
    EndOfBatch { left: u64 },
    /// Nothing there.
    NotFound,
}

/// Reads a status; none for an ordinary message.
pub(crate) fn status_of(message: &Message) -> Option<Status> {
    let status = message.status?;
    let text = message.description.as_deref().unwrap_or("");
    let number = |name: &str| {
        let headers: &HeaderMap = message.headers.as_ref()?;
        headers.get(name)?.as_str().parse::<u64>().ok()
    };
    let undelivered = || usize::try_from(number("Nats-Pending-Messages").unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    Some(match status.as_u16() {
        100 => Status::Heartbeat { last_consumer_seq: number("Nats-Last-Consumer") },
        204 => Status::EndOfBatch { left: number("Nats-Num-Pending").unwrap_or(0) },
        404 if text.contains("Message") && !text.contains("Messages") => Status::NotFound,
        404 | 408 => Status::PullOver { undelivered: undelivered() },
        409 if PULL_OVER.iter().any(|t| text.contains(t)) => Status::PullOver { undelivered: undelivered() },
        _ if status == StatusCode::NO_RESPONDERS => Status::Gone { reason: "it does not exist".into() },
        code => Status::Gone { reason: format!("{text} ({code})") },
    })
}

/// A request for messages of a pull consumer. Times in nanoseconds; absent means unlimited.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PullRequest {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_wait: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
}

impl PullRequest {
    /// What is there now.
    pub(crate) fn at_once(batch: usize) -> Self {
        Self { batch, no_wait: Some(true), ..Self::default() }
    }

    /// What comes within `expires`.
    pub(crate) fn waiting(batch: usize, expires: Duration) -> Self {
        Self { batch, expires: Some(nanos(expires)), ..Self::default() }
    }

    /// With signs of life while nothing comes, and at most so many bytes.
    pub(crate) fn watched(mut self, heartbeat: Duration, bytes_max: usize) -> Self {
        self.idle_heartbeat = Some(nanos(heartbeat));
        self.max_bytes = Some(bytes_max);
        self
    }

    pub(crate) fn payload(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }
}

pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_ack_subject_are_read() {
        let want = AckSubject {
            consumer: "llm-high",
            deliveries: 2,
            stream_seq: 17,
            consumer_seq: 5,
            time: Timestamp(1_700_000_000_123),
            pending: 9,
        };
        let short = "$JS.ACK.SM_TASKS_llm.llm-high.2.17.5.1700000000123456789.9";
        assert_eq!(AckSubject::parse(short), Some(want));
        let long = "$JS.ACK.hub.ACCHASH.SM_TASKS_llm.llm-high.2.17.5.1700000000123456789.9.rnd";
        assert_eq!(AckSubject::parse(long), Some(want));
        for bad in ["$JS.ACK.a.b.1.2.3.4", "x", "$JS.ACK.s.c.a.b.c.d.e"] {
            assert_eq!(AckSubject::parse(bad), None, "{bad}");
        }
    }
}
