//! CloudEvents in `SM_EVENTS`: published by anybody who may, read in order.

use bytes::Bytes;
use serde_json::{Value, json};
use stepmill_protocol::cloud::NotAnEvent;
use stepmill_protocol::codec::pack;
use stepmill_protocol::{CloudEvent, Namespace, Timestamp, limit};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::{Outgoing, Stored};
use crate::reader::{Read, Start, StreamReader, parse_rfc3339};
use crate::serve::CONTENT_TYPE_HEADER;
use crate::subject;

/// An event as the stream holds it.
#[derive(Clone, Debug)]
pub struct EventMessage {
    /// Its sequence.
    pub seq: u64,
    /// When the broker stored it.
    pub time: Timestamp,
    /// Bytes of its body.
    pub bytes: usize,
    /// Whose it is, and the event; or why it is none.
    pub event: Result<(Namespace, CloudEvent), String>,
}

/// The events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    nats: Nats,
}

impl Events {
    /// The events that this connection reaches.
    #[must_use]
    pub const fn new(nats: Nats) -> Self {
        Self { nats }
    }

    /// Publishes an event in the structured form. The message id stands for its source and id.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm it.
    pub async fn publish(&self, namespace: &Namespace, event: &CloudEvent) -> Result<Stored, NatsError> {
        let payload = serde_json::to_vec(event).map_err(|e| NatsError::malformed("an event", e))?;
        let id = Some(event.identity(namespace).to_string());
        let subject = subject::event(namespace, event.kind());
        self.nats.store(Outgoing { subject, id, again: false, payload: Bytes::from(payload) }).await
    }

    /// When the event with this sequence was stored, as the stream's leader sees it; none where it is gone or was never there.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not answer.
    pub async fn time_of(&self, seq: u64) -> Result<Option<Timestamp>, NatsError> {
        match self.nats.js_call(&format!("STREAM.MSG.GET.{}", subject::EVENTS_STREAM), &json!({"seq": seq})).await {
            Ok(answer) => {
                let time = answer.pointer("/message/time").and_then(Value::as_str);
                parse_rfc3339(time.ok_or_else(|| NatsError::malformed("a stored event", "it has no time"))?).map(Some)
            }
            Err(NatsError::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads the events from somewhere on.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not let us.
    pub async fn reader(&self, start: Start) -> Result<EventReader, NatsError> {
        let inner = StreamReader::open(&self.nats, subject::EVENTS_STREAM, subject::EVENTS_ALL, start).await?;
        Ok(EventReader { inner })
    }
}

/// Reads events.
#[derive(Debug)]
pub struct EventReader {
    inner: StreamReader,
}

impl EventReader {
    /// Waits for an event and returns it with everything that has arrived behind it, up to the limits. Cancel safe.
    ///
    /// # Errors
    /// [`NatsError::Interrupted`] whenever an event could have been missed: open another reader.
    pub async fn next_batch(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<EventMessage>, NatsError> {
        let batch = self.inner.next_batch(messages_max, bytes_max).await?;
        Ok(batch.into_iter().map(message).collect())
    }
}

fn message(read: Read) -> EventMessage {
    let (seq, time, bytes) = (read.seq, read.time, read.payload.len());
    EventMessage { seq, time, bytes, event: event(&read) }
}

fn event(read: &Read) -> Result<(Namespace, CloudEvent), String> {
    let namespace = subject::parse_event(&read.subject)
        .ok_or_else(|| format!("`{}` is not `sm.event.<namespace>.<type>` with a valid namespace", read.subject))?;
    let headers: Vec<(&str, &str)> = read
        .headers
        .iter()
        .flat_map(|h| h.iter())
        .filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
        .collect();
    let said = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE_HEADER)).map(|(_, value)| *value);
    let event = CloudEvent::read(headers.iter().copied(), said, &read.payload);
    let event = event.map_err(|e: NotAnEvent| e.to_string())?;
    match too_large(&event, read.payload.len()) {
        Some(reason) => Err(reason),
        None => Ok((namespace, event)),
    }
}

/// Why no run could take an event of this size, if so. One that was published past the API may be as large as a message.
fn too_large(event: &CloudEvent, payload: usize) -> Option<String> {
    // No value becomes nine times as large by being written as MessagePack, so small ones need not be written.
    if payload <= limit::VALUE_BYTES_MAX / 9 {
        return None;
    }
    let bytes = pack(event).map_or(usize::MAX, |packed| packed.len());
    (bytes > limit::VALUE_BYTES_MAX).then(|| {
        let max = limit::VALUE_BYTES_MAX;
        format!("the event has {bytes} bytes, {max} are allowed; store its data elsewhere and pass a reference")
    })
}
