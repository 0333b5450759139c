//! MCP over HTTP: the client library's own way with requests and streams, with what it leaves out. It keeps the status that a server
//! refused with, and its errors name no addresses, which may hold secrets.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use sse_stream::Sse;
use stepmill_protocol::limit::VALUE_BYTES_MAX;

use crate::failure::Failure;
use crate::{limit, net};

/// What a server refused a request with.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Refusal {
    /// The failure that it stands for, as for every HTTP call.
    pub(super) fn failure(&self, what: &str) -> Failure {
        net::refused(what, self.status, &self.headers, self.body.as_bytes())
    }

    /// None where the error is not about what a server answered.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's errors grow; what is not known here has no status"
    )]
    fn of(error: &StreamableHttpError<reqwest::Error>) -> Option<Self> {
        let plain = |status: StatusCode| Self { status, headers: HeaderMap::new(), body: String::new() };
        match error {
            StreamableHttpError::AuthRequired(_) => Some(plain(StatusCode::UNAUTHORIZED)),
            StreamableHttpError::InsufficientScope(_) => Some(plain(StatusCode::FORBIDDEN)),
            StreamableHttpError::SessionExpired => Some(plain(StatusCode::NOT_FOUND)),
            StreamableHttpError::HttpStatus(said) => {
                let mut refusal = plain(StatusCode::from_u16(said.status).ok()?);
                if let Some(after) = said.retry_after.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                    refusal.headers.insert(RETRY_AFTER, after);
                }
                Some(refusal)
            }
            // The library puts all other statuses into a text: "HTTP 404 Not Found: <body>".
            StreamableHttpError::UnexpectedServerResponse(text) => {
                let (head, body) = text.strip_prefix("HTTP ")?.split_once(": ")?;
                let status = StatusCode::from_bytes(head.get(..3)?.as_bytes()).ok()?;
                Some(Self { body: body.to_owned(), ..plain(status) })
            }
            StreamableHttpError::Client(error) => error.status().map(plain),
            _ => None,
        }
    }
}

/// The client of one connection.
#[derive(Clone)]
pub(super) struct Careful {
    client: Client,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

impl Careful {
    pub(super) fn new(client: Client) -> Self {
        Self { client, refusal: Arc::default() }
    }

    /// What the last request was refused with, where one was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().clone()
    }

    /// A connection to `url`. The step's retry policy repeats calls, nothing else does.
    pub(super) fn connect(
        &self,
        url: &str,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> StreamableHttpClientTransport<Self> {
        let config = StreamableHttpClientTransportConfig::with_uri(url)
            .custom_headers(headers)
            .max_sse_event_size(VALUE_BYTES_MAX)
            .max_json_response_size(VALUE_BYTES_MAX)
            .max_error_response_size(limit::QUOTE_BYTES_MAX)
            .reinit_on_expired_session(false);
        StreamableHttpClientTransport::with_client(self.clone(), config)
    }

    fn noted(&self, error: StreamableHttpError<reqwest::Error>) -> StreamableHttpError<reqwest::Error> {
        if let Some(refusal) = Refusal::of(&error) {
            *self.refusal.lock() = Some(refusal);
        }
        without_url(error)
    }
}

fn without_url(error: StreamableHttpError<reqwest::Error>) -> StreamableHttpError<reqwest::Error> {
    if let StreamableHttpError::Client(error) = error {
        return StreamableHttpError::Client(error.without_url());
    }
    error
}

impl StreamableHttpClient for Careful {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<reqwest::Error>> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, token, headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, StreamableHttpError<reqwest::Error>> {
        let posted = self.client.post_message_with_response_limits(uri, message, session, token, headers, limits).await;
        posted.map_err(|e| self.noted(e))
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<reqwest::Error>> {
        self.client.delete_session(uri, session, token, headers).await.map_err(without_url)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<reqwest::Error>> {
        self.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, VALUE_BYTES_MAX).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        max: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<reqwest::Error>> {
        let opened = self.client.get_stream_with_max_sse_event_size(uri, session, last_event, token, headers, max);
        opened.await.map_err(without_url)
    }
}
