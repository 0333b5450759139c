//! The client's side of the API.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use stepmill_protocol::Namespace;
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::{ApiCaller, BoxFuture};
use stepmill_protocol::problem::{Problem, Standard};
use tokio::time::Instant;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::serve::{CONTENT_TYPE_HEADER, ERROR_CODE_HEADER, ERROR_HEADER};
use crate::subject;

/// How long a call is repeated while no coordinator listens: a takeover takes up to three seconds.
const NOBODY_WITHIN: Duration = Duration::from_millis(3_500);
const NOBODY_PAUSE: Duration = Duration::from_millis(100);

/// Calls the API over NATS.
#[derive(Clone, Debug)]
pub struct NatsApiCaller {
    nats: Nats,
}

impl NatsApiCaller {
    /// A caller over this connection.
    #[must_use]
    pub const fn new(nats: Nats) -> Self {
        Self { nats }
    }

    async fn call_once(
        &self,
        to: &str,
        content: ContentType,
        body: &Bytes,
        within: Duration,
    ) -> Result<Message, NatsError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE_HEADER, content.as_str());
        self.nats.ask(to.into(), Some(headers), body.clone(), within).await
    }

    async fn call_patiently(
        &self,
        to: String,
        content: ContentType,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Vec<u8>, Problem> {
        let deadline = Instant::now() + timeout;
        let nobody_until = deadline.min(Instant::now() + NOBODY_WITHIN);
        loop {
            let within = deadline.saturating_duration_since(Instant::now());
            match self.call_once(&to, content, &body, within).await {
                Ok(message) => return answer(&message),
                Err(NatsError::NoResponders { .. }) if Instant::now() + NOBODY_PAUSE < nobody_until => {
                    tokio::time::sleep(NOBODY_PAUSE).await;
                }
                Err(e) => return Err(problem(&to, &e)),
            }
        }
    }
}

impl ApiCaller for NatsApiCaller {
    fn call<'a>(
        &'a self,
        namespace: &'a Namespace,
        verb: &'a str,
        content: ContentType,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, Problem>> {
        Box::pin(async move { self.call_patiently(subject::api(namespace, verb), content, body.into(), timeout).await })
    }
}

fn answer(message: &Message) -> Result<Vec<u8>, Problem> {
    let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(async_nats::HeaderValue::as_str);
    let Some(code) = header(ERROR_CODE_HEADER) else { return Ok(message.payload.to_vec()) };
    Err(serde_json::from_slice(&message.payload).unwrap_or_else(|_| {
        let title = header(ERROR_HEADER).unwrap_or("no reason given");
        let problem = Problem::standard(Standard::Communication, format!("the coordinator answered {title} ({code})"));
        problem.with_status(code.parse().unwrap_or(500))
    }))
}

fn problem(to: &str, error: &NatsError) -> Problem {
    if matches!(error, NatsError::NoResponders { .. }) {
        let detail = format!("no coordinator answers on {to}; start one with `stepmill coordinator` or `stepmill dev`");
        return Problem::standard(Standard::Communication, detail).with_status(503);
    }
    let kind = if matches!(error, NatsError::Timeout { .. }) { Standard::Timeout } else { Standard::Communication };
    if error.may_have_happened() {
        let detail = format!("{error}; it may have been done all the same: repeat it with the same key");
        return Problem::standard(kind, detail);
    }
    Problem::standard(kind, error.to_string())
}
