//! One service: sends a request in its wire format, keeps the time, and puts the answer together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::StreamExt as _;
use stepmill_protocol::Timestamp;
use stepmill_protocol::link::BoxFuture;
use stepmill_worker::{Secrets, hide_secret};
use stepmill_worker_engine::model::{Format, ModelAnswer, ModelError, ModelErrorKind};
use tokio::time::{Instant, timeout, timeout_at};

use super::KeyRef;
use super::transport::{Body, Reply, Send, Transport};
use crate::limit;
use crate::model::{Call, Model};
use crate::wire::{self, Assembly, Events, Style};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the first token of a stream.
    pub first_token: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// One call.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { first_token: limit::FIRST_TOKEN_TIMEOUT, idle: limit::IDLE_TIMEOUT, attempt: limit::ATTEMPT_TIMEOUT }
    }
}

/// A service at a base URL, for instance `https://api.openai.com/v1`.
#[derive(Clone)]
pub struct Service {
    /// What to call it in errors.
    pub name: String,
    /// What it speaks.
    pub format: Format,
    /// Which variant of it.
    pub style: Style,
    /// Where it is, without the format's own path.
    pub base_url: String,
    /// Where its key is.
    pub key: Option<KeyRef>,
    /// More headers, for gateways.
    pub headers: Vec<(String, String)>,
    /// How long what may take.
    pub timeouts: Timeouts,
    /// Where keys are looked up.
    pub secrets: Secrets,
    /// How requests get there.
    pub transport: Arc<dyn Transport>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("base_url", &self.base_url)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Model for Service {
    fn complete<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        Box::pin(async move {
            let key = match &self.key {
                Some(key) => Some(key.read(&self.secrets).await.map_err(|e| self.named(e))?),
                None => None,
            };
            let done = timeout(self.timeouts.attempt, self.ask(call, key.as_deref())).await;
            let answer = done.unwrap_or_else(|_| Err(late("the whole answer", self.timeouts.attempt)));
            answer.map_err(|mut error| {
                if let Some(key) = &key {
                    hide_secret("model key", key, &mut error.detail);
                }
                self.named(error)
            })
        })
    }
}

impl Service {
    fn named(&self, mut error: ModelError) -> ModelError {
        if !error.detail.starts_with(&self.name) {
            error.detail = format!("{}: {}", self.name, error.detail);
        }
        error
    }

    async fn ask(&self, call: Call<'_>, key: Option<&str>) -> Result<ModelAnswer, ModelError> {
        let begun = Instant::now();
        let body = wire::body(self.format, call.request, &self.style)?;
        let mut headers: Vec<(String, String)> =
            vec![("content-type".into(), "application/json".into()), (IDEMPOTENCY_KEY.into(), call.key.to_owned())];
        headers.extend(wire::headers(self.format, key).into_iter().map(|(name, value)| (name.to_owned(), value)));
        headers.extend(self.headers.iter().cloned());
        let url = format!("{}{}", self.base_url.trim_end_matches('/'), wire::path(self.format));
        let sent = self.transport.send(Send { url, headers, body: Bytes::from(body.to_string()) });
        let first_token = begun + self.timeouts.first_token;
        let reply = match self.style.stream {
            // Without a stream, nothing comes before everything.
            false => sent.await?,
            true => timeout_at(first_token, sent)
                .await
                .unwrap_or_else(|_| Err(late("the first token", self.timeouts.first_token)))?,
        };
        if !(200..300).contains(&reply.status) {
            return Err(self.refused(reply).await);
        }
        if let Some(sink) = call.tokens {
            sink.begin(&call.request.model);
        }
        let is_stream = reply.headers.get("content-type").is_some_and(|t| t.starts_with("text/event-stream"));
        if is_stream {
            return self.read_stream(call, reply.body, first_token).await;
        }
        let bytes = self.collect(reply.body, limit::WIRE_BYTES_MAX).await?;
        let answer = wire::answer(self.format, call.request, &bytes)?;
        if let Some(sink) = call.tokens {
            sink.text(&answer.text());
        }
        Ok(answer)
    }

    async fn read_stream(
        &self,
        call: Call<'_>,
        mut body: Body,
        first_token: Instant,
    ) -> Result<ModelAnswer, ModelError> {
        let mut assembly = Assembly::new(self.format, call.request);
        let (mut events, mut read, mut begun) = (Events::default(), 0, false);
        loop {
            let next = match begun {
                true => timeout(self.timeouts.idle, body.next())
                    .await
                    .map_err(|_| late("the next piece of the answer", self.timeouts.idle))?,
                false => timeout_at(first_token, body.next())
                    .await
                    .map_err(|_| late("the first token", self.timeouts.first_token))?,
            };
            let bytes = match next {
                None => return assembly.finish(),
                Some(Ok(bytes)) => bytes,
                // What breaks after the answer's end takes nothing from it.
                Some(Err(error)) => return assembly.finish().map_err(|_| error),
            };
            read = counted(read, &bytes, limit::WIRE_BYTES_MAX)?;
            for data in events.take(&bytes) {
                let piece = assembly.take(&data)?;
                begun |= piece.begun;
                if let (Some(sink), false) = (call.tokens, piece.text.is_empty()) {
                    sink.text(&piece.text);
                }
                if piece.done {
                    return assembly.finish();
                }
            }
        }
    }

    async fn refused(&self, reply: Reply) -> ModelError {
        // An error whose text does not come is still the error that its status says.
        let body = timeout(self.timeouts.idle, self.collect(reply.body, limit::ERROR_BYTES_MAX)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        wire::refusal(&self.name, reply.status, &reply.headers, &body, now())
    }

    /// The whole of a body; the attempt's own timeout ends it.
    async fn collect(&self, mut body: Body, max: usize) -> Result<Vec<u8>, ModelError> {
        let mut whole = Vec::new();
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            counted(whole.len(), &bytes, max)?;
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

fn counted(read: usize, bytes: &Bytes, max: usize) -> Result<usize, ModelError> {
    let read = read.saturating_add(bytes.len());
    if read <= max {
        return Ok(read);
    }
    let text = format!("the answer has more than {max} bytes (WIRE_BYTES_MAX); lower `max_tokens`");
    Err(ModelError::new(ModelErrorKind::Truncated, text))
}

fn late(what: &str, limit: Duration) -> ModelError {
    ModelError::new(ModelErrorKind::Timeout, format!("{what} did not come within {limit:?}"))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
