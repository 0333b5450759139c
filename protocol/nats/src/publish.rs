//! Publishing into streams, many at a time, each confirmed by the broker.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::connect::{ANSWER_WITHIN, Nats};
use crate::error::NatsError;
use crate::request::JsError;

/// Marks a task that is published again after a takeover or a loss.
pub(crate) const AGAIN_HEADER: &str = "Sm-Again";
/// The broker keeps one message per id within its window.
pub(crate) const MESSAGE_ID_HEADER: &str = "Nats-Msg-Id";
/// Messages sent before the first confirmation is looked at. More in flight gains little (measured), and all of them
/// must be confirmed in time by a broker that syncs each to disk.
const IN_FLIGHT_MAX: usize = 1024;

/// A message for a stream.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// Duplicates with the same id within the stream's window are stored once.
    pub id: Option<String>,
    /// Adds the header `Sm-Again`.
    pub again: bool,
    /// The message.
    pub payload: Bytes,
}

impl Outgoing {
    /// A message without id.
    #[must_use]
    pub fn new(subject: String, payload: impl Into<Bytes>) -> Self {
        Self { subject, id: None, again: false, payload: payload.into() }
    }
}

/// What the broker said about a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream (of the first one, for a duplicate).
    pub seq: u64,
    /// The broker had a message with this id already.
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct PublishAnswer {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    error: Option<JsError>,
}

impl Nats {
    /// Publishes all messages in this order without waiting for one before sending the next; the results are in the
    /// same order. A message can fail while a later one succeeds.
    pub async fn store_all(&self, messages: Vec<Outgoing>) -> Vec<Result<Stored, NatsError>> {
        let mut results = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let deadline = Instant::now() + ANSWER_WITHIN;
            let mut pending = Vec::new();
            for message in messages.by_ref().take(IN_FLIGHT_MAX) {
                pending.push(match headers(&message) {
                    Ok(headers) => self.begin(message.subject, headers, message.payload, deadline).await,
                    Err(e) => Err(e),
                });
            }
            for sent in pending {
                results.push(match sent {
                    Ok(sent) => stored(sent.answer(deadline, ANSWER_WITHIN).await),
                    Err(e) => Err(e),
                });
            }
        }
        results
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm it.
    pub async fn store(&self, message: Outgoing) -> Result<Stored, NatsError> {
        let headers = headers(&message)?;
        stored(self.ask(message.subject, headers, message.payload, ANSWER_WITHIN).await)
    }
}

fn headers(message: &Outgoing) -> Result<Option<HeaderMap>, NatsError> {
    if message.id.is_none() && !message.again {
        return Ok(None);
    }
    let mut headers = HeaderMap::new();
    if let Some(id) = &message.id {
        headers.insert(MESSAGE_ID_HEADER, header_value(id)?);
    }
    if message.again {
        headers.insert(AGAIN_HEADER, "1");
    }
    Ok(Some(headers))
}

/// Checked, since the client panics on a line break.
pub(crate) fn header_value(text: &str) -> Result<HeaderValue, NatsError> {
    text.parse().map_err(|e| NatsError::malformed("a header", e))
}

fn stored(answer: Result<async_nats::Message, NatsError>) -> Result<Stored, NatsError> {
    let message = answer?;
    let answer: PublishAnswer =
        serde_json::from_slice(&message.payload).map_err(|e| NatsError::malformed("the broker's confirmation", e))?;
    match answer.error {
        Some(error) => Err(error.into_error("the message")),
        None => Ok(Stored { seq: answer.seq, duplicate: answer.duplicate }),
    }
}
