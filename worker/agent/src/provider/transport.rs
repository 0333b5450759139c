//! Sending a request over HTTP: the port, and the adapter on reqwest.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::Client;
use stepmill_protocol::link::BoxFuture;
use stepmill_worker::with_sources;
use stepmill_worker_engine::model::{ModelError, ModelErrorKind};

use crate::wire::Headers;

/// A request on its way out.
#[derive(Clone)]
pub struct Send {
    /// Where to.
    pub url: String,
    /// Headers; they may hold a key.
    pub headers: Vec<(String, String)>,
    /// A JSON document.
    pub body: Bytes,
}

impl std::fmt::Debug for Send {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Send").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The bytes of an answer, as they come.
pub type Body = BoxStream<'static, Result<Bytes, ModelError>>;

/// An answer whose body may still be under way.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// Sends requests.
pub trait Transport: std::marker::Send + Sync {
    /// Sends one, once. Dropping the future, or the body, ends the exchange.
    fn send(&self, request: Send) -> BoxFuture<'_, Result<Reply, ModelError>>;
}

/// Real HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http(Client);

impl Http {
    /// A client that follows no redirects and repeats nothing by itself: both are the caller's business.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(connect: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("stepmill/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()?;
        Ok(Self(client))
    }
}

impl Transport for Http {
    fn send(&self, request: Send) -> BoxFuture<'_, Result<Reply, ModelError>> {
        Box::pin(async move {
            let mut call = self.0.post(&request.url).body(request.body);
            for (name, value) in &request.headers {
                call = call.header(name, value);
            }
            let response = call.send().await.map_err(broken)?;
            let headers = response.headers().iter();
            let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?)));
            let (status, headers) = (response.status().as_u16(), headers.collect());
            let body = response.bytes_stream().map(|chunk| chunk.map_err(broken_off)).boxed();
            Ok(Reply { status, headers, body })
        })
    }
}

/// A call that brought no answer.
fn broken(error: reqwest::Error) -> ModelError {
    // A URL may hold secrets in its query.
    let error = error.without_url();
    let kind = if error.is_builder() { ModelErrorKind::BadRequest } else { ModelErrorKind::Unreachable };
    ModelError::new(kind, format!("no answer: {}", with_sources(&error)))
}

/// An answer that did not come to its end.
fn broken_off(error: reqwest::Error) -> ModelError {
    let text = format!("the connection broke off: {}", with_sources(&error.without_url()));
    ModelError::new(ModelErrorKind::CutStream, text)
}
