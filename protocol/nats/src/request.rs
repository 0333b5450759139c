//! Questions and answers: one request, a call of JetStream's own API, a plain publish, a reply subject to give away.

use std::time::Duration;

use async_nats::{HeaderMap, Message, PublishErrorKind, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::connect::{ANSWER_WITHIN, Nats};
use crate::error::NatsError;
use crate::mux::Ticket;
use crate::wire::{Status, status_of};

/// JetStream's error object.
#[derive(Debug, Deserialize)]
pub(crate) struct JsError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl JsError {
    /// JetStream's codes, from its list of errors.
    const STREAM_NOT_FOUND: u64 = 10059;
    const CONSUMER_NOT_FOUND: u64 = 10014;
    const MESSAGE_NOT_FOUND: u64 = 10037;
    const STORE_FAILED: u64 = 10077;
    const INSUFFICIENT_RESOURCES: [u64; 3] = [10023, 10047, 10028];
    const MESSAGE_TOO_LARGE: u64 = 10054;

    pub(crate) fn into_error(self, what: &str) -> NatsError {
        match self.err_code {
            Self::STREAM_NOT_FOUND | Self::CONSUMER_NOT_FOUND | Self::MESSAGE_NOT_FOUND => {
                NatsError::NotFound { what: what.into() }
            }
            Self::MESSAGE_TOO_LARGE => NatsError::TooLarge { bytes: 0, max: 0 },
            c if c == Self::STORE_FAILED || Self::INSUFFICIENT_RESOURCES.contains(&c) => {
                NatsError::Full { stream: what.into(), reason: self.description }
            }
            err_code => NatsError::Refused {
                what: what.into(),
                code: if err_code == 0 { self.code } else { err_code },
                text: self.description,
                retryable: self.code == 429 || self.code >= 500,
            },
        }
    }
}

/// An answer that is still on its way.
pub(crate) struct Pending {
    ticket: Ticket,
    subject: String,
}

impl Pending {
    pub(crate) async fn answer(self, deadline: Instant, within: Duration) -> Result<Message, NatsError> {
        let Self { ticket, subject } = self;
        match tokio::time::timeout_at(deadline, ticket).await {
            Ok(Some(m)) if m.status == Some(StatusCode::NO_RESPONDERS) => Err(NatsError::NoResponders { subject }),
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(NatsError::Disconnected { what: subject }),
            Err(_) => Err(NatsError::Timeout { what: subject, millis: within.as_millis() }),
        }
    }
}

/// A reply subject that was given away, and the wait for what comes to it.
#[derive(Debug)]
pub struct ReplyWait {
    ticket: Ticket,
}

impl ReplyWait {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`NatsError::Timeout`], or [`NatsError::Disconnected`] when the connection broke meanwhile: the answer may have
    /// been given and lost.
    pub async fn within(self, timeout: Duration) -> Result<Bytes, NatsError> {
        match tokio::time::timeout(timeout, self.ticket).await {
            Ok(Some(message)) => Ok(message.payload),
            Ok(None) => Err(NatsError::Disconnected { what: "a reply".into() }),
            Err(_) => Err(NatsError::Timeout { what: "a reply".into(), millis: timeout.as_millis() }),
        }
    }
}

impl Nats {
    /// A reply subject of our own to give away (say, in a log record), and the wait for what will be sent to it.
    /// Cheap: all of them share one subscription.
    #[must_use]
    pub fn expect_reply(&self) -> (String, ReplyWait) {
        let (subject, ticket) = self.inner.mux.ticket();
        (subject, ReplyWait { ticket })
    }

    /// Answers to a reply subject that this very connection has given away. The answer comes back when the subject is
    /// somebody else's.
    #[must_use]
    pub fn answer_here(&self, subject: &str, payload: impl Into<Bytes>) -> Option<Bytes> {
        self.inner.mux.answer(subject, payload.into())
    }

    /// Sends a message that nobody confirms, for instance to a reply subject.
    ///
    /// # Errors
    /// [`NatsError`] when the message cannot even be handed to the connection.
    pub async fn publish(&self, subject: &str, payload: impl Into<Bytes>) -> Result<(), NatsError> {
        let payload = payload.into();
        let bytes = payload.len();
        let deadline = Instant::now() + ANSWER_WITHIN;
        let send = self.inner.client.publish(subject.to_owned(), payload);
        match tokio::time::timeout_at(deadline, send).await {
            Ok(sent) => sent.map_err(|e| self.publish_error(subject, &e, bytes)),
            Err(_) => Err(NatsError::Timeout { what: subject.into(), millis: ANSWER_WITHIN.as_millis() }),
        }
    }

    /// Waits until the server has heard all that was sent before: it hears one connection in order, so whatever comes
    /// back was sent after the rest had arrived.
    pub(crate) async fn settled(&self) -> Result<(), NatsError> {
        let (echo, ticket) = self.inner.mux.ticket();
        self.publish(&echo, Vec::new()).await?;
        match tokio::time::timeout(ANSWER_WITHIN, ticket).await {
            Ok(Some(_)) => Ok(()),
            _ => Err(NatsError::interrupted("the connection", "the server does not answer")),
        }
    }

    /// Asks on a subject and waits for the answer.
    ///
    /// # Errors
    /// [`NatsError::NoResponders`] when nobody listens, [`NatsError::Timeout`] and [`NatsError::Disconnected`] when no
    /// answer came.
    pub async fn request(
        &self,
        subject: &str,
        payload: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<Bytes, NatsError> {
        Ok(self.ask(subject.into(), None, payload.into(), timeout).await?.payload)
    }

    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, NatsError> {
        let deadline = Instant::now() + timeout;
        self.begin(subject, headers, payload, deadline).await?.answer(deadline, timeout).await
    }

    /// Sends a request and returns at once, so that many can be under way.
    pub(crate) async fn begin(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Pending, NatsError> {
        let (reply, ticket) = self.inner.mux.ticket();
        let client = &self.inner.client;
        let bytes = payload.len();
        let send = async {
            match headers {
                Some(headers) => client.publish_with_reply_and_headers(subject.clone(), reply, headers, payload).await,
                None => client.publish_with_reply(subject.clone(), reply, payload).await,
            }
        };
        match tokio::time::timeout_at(deadline, send).await {
            Ok(Ok(())) => Ok(Pending { ticket, subject }),
            Ok(Err(e)) => Err(self.publish_error(&subject, &e, bytes)),
            Err(_) => Err(NatsError::Timeout { what: subject, millis: ANSWER_WITHIN.as_millis() }),
        }
    }

    fn publish_error(&self, subject: &str, error: &async_nats::PublishError, bytes: usize) -> NatsError {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => NatsError::TooLarge { bytes, max: self.max_payload() },
            PublishErrorKind::InvalidSubject => {
                NatsError::Malformed { what: format!("the subject {subject:?}"), reason: error.to_string() }
            }
            PublishErrorKind::Send => NatsError::Disconnected { what: subject.into() },
        }
    }

    /// Messages of a stream by a direct get of several: those that come before the server says that this is all for now.
    pub(crate) async fn direct_batch(&self, stream: &str, body: &Value) -> Result<Vec<Message>, NatsError> {
        let client = &self.inner.client;
        let to = format!("{}.DIRECT.GET.{stream}", self.inner.js);
        let inbox = client.new_inbox();
        let broken = |e: String| NatsError::interrupted(&to, e);
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| broken(e.to_string()))?;
        let sent = client.publish_with_reply(to.clone(), inbox, Bytes::from(body.to_string())).await;
        sent.map_err(|e| broken(e.to_string()))?;
        let mut messages = Vec::new();
        loop {
            let timeout = || NatsError::Timeout { what: to.clone(), millis: ANSWER_WITHIN.as_millis() };
            let answer = tokio::time::timeout(ANSWER_WITHIN, answers.next()).await.map_err(|_| timeout())?;
            let Some(answer) = answer else { return Err(NatsError::Disconnected { what: to }) };
            match status_of(&answer) {
                None => messages.push(answer),
                Some(Status::EndOfBatch { .. } | Status::NotFound | Status::PullOver { .. }) => return Ok(messages),
                Some(Status::Gone { reason }) => return Err(NatsError::interrupted(&to, reason)),
                Some(Status::Heartbeat { .. }) => {}
            }
        }
    }

    /// Calls JetStream's API (`verb` as in `STREAM.INFO.X`).
    pub(crate) async fn js_call(&self, verb: &str, body: &Value) -> Result<Value, NatsError> {
        let payload = Bytes::from(body.to_string());
        let answer = self.ask(format!("{}.{verb}", self.inner.js), None, payload, ANSWER_WITHIN).await?;
        let mut answer: Value = serde_json::from_slice(&answer.payload)
            .map_err(|e| NatsError::malformed(&format!("the answer to {verb}"), e))?;
        match answer.get_mut("error").map(Value::take) {
            Some(error) => {
                let error: JsError = serde_json::from_value(error)
                    .map_err(|e| NatsError::malformed(&format!("the error of {verb}"), e))?;
                Err(error.into_error(verb))
            }
            None => Ok(answer),
        }
    }
}
