//! The typed client: one method per verb, over any [`ApiCaller`] (NATS, or in process).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{
    Acknowledged, CancelRequest, DefineRequest, DefineResponse, EventResponse, GetRequest, HistoryRequest,
    HistoryResponse, LifeRequest, LifeResponse, ListRequest, ListResponse, RunView, SignalRequest, SubmitRequest,
    SubmitResponse, verb,
};
use crate::cloud::CloudEvent;
use crate::codec::ContentType;
use crate::id::{Namespace, RunId};
use crate::limit;
use crate::link::ApiCaller;
use crate::problem::{Problem, Standard};
use crate::time::Millis;

/// A client of one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    caller: Arc<dyn ApiCaller>,
    namespace: Namespace,
    timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that gives each call ten seconds (plus the wait that the call itself asks for).
    #[must_use]
    pub fn new(caller: Arc<dyn ApiCaller>, namespace: Namespace) -> Self {
        Self { caller, namespace, timeout: Duration::from_secs(10) }
    }

    /// The namespace that it calls.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The same client with another time limit per call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&self, verb: &str, q: &Q, extra: Millis) -> Result<A, Problem> {
        let content = ContentType::MsgPack;
        let bad = |e: crate::codec::CodecError| Problem::standard(Standard::Communication, e.to_string());
        let body = content.write(q).map_err(bad)?;
        let timeout = self.timeout + Duration::from(extra);
        let answer = self.caller.call(&self.namespace, verb, content, body, timeout).await?;
        content.read(&answer).map_err(bad)
    }

    /// Registers a definition.
    ///
    /// # Errors
    /// A [`Problem`] when the definition is refused or the coordinator cannot be reached; so for every method.
    pub async fn define(&self, source: &str) -> Result<DefineResponse, Problem> {
        self.call(verb::DEFINE, &DefineRequest { source: source.into() }, Millis(0)).await
    }

    /// Starts a run; answers once it is committed.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitResponse, Problem> {
        self.call(verb::SUBMIT, request, Millis(0)).await
    }

    /// Shows a run.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn get(&self, run: RunId) -> Result<RunView, Problem> {
        self.call(verb::GET, &GetRequest { run, after_rev: None, wait_ms: None }, Millis(0)).await
    }

    /// Shows a run as soon as its revision is above `rev`, or after `wait`.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn get_after(&self, run: RunId, rev: u64, wait: Millis) -> Result<RunView, Problem> {
        self.call(verb::GET, &GetRequest { run, after_rev: Some(rev), wait_ms: Some(wait) }, wait).await
    }

    /// Waits until the run has ended, however long that takes.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn result(&self, run: RunId) -> Result<RunView, Problem> {
        loop {
            let view = self.result_within(run, limit::API_WAIT_MAX).await?;
            if view.state.is_final() {
                return Ok(view);
            }
        }
    }

    /// Waits up to `wait` for the run's end and shows it as it is then.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn result_within(&self, run: RunId, wait: Millis) -> Result<RunView, Problem> {
        let wait = wait.min(limit::API_WAIT_MAX);
        self.call(verb::RESULT, &GetRequest { run, after_rev: None, wait_ms: Some(wait) }, wait).await
    }

    /// Lists runs.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn list(&self, request: &ListRequest) -> Result<ListResponse, Problem> {
        self.call(verb::LIST, request, Millis(0)).await
    }

    /// Ends a run.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<Acknowledged, Problem> {
        self.call(verb::CANCEL, &CancelRequest { run, reason: reason.into() }, Millis(0)).await
    }

    /// Hands a value to a run.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn signal(&self, request: &SignalRequest) -> Result<Acknowledged, Problem> {
        self.call(verb::SIGNAL, request, Millis(0)).await
    }

    /// Hands an event to whoever listens for it; answers once it is stored.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn event(&self, event: &CloudEvent) -> Result<EventResponse, Problem> {
        self.call(verb::EVENT, event, Millis(0)).await
    }

    /// Shows the life-cycle events of a run after the one with this `sequence`.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn life(&self, run: RunId, after: Option<&str>) -> Result<LifeResponse, Problem> {
        let request = LifeRequest { run, after: after.map(str::to_owned), limit: None };
        self.call(verb::LIFE, &request, Millis(0)).await
    }

    /// Shows what the log holds of a run after the position `after`.
    ///
    /// # Errors
    /// See [`Client::define`].
    pub async fn history(&self, run: RunId, after: u64) -> Result<HistoryResponse, Problem> {
        self.call(verb::HISTORY, &HistoryRequest { run, after, limit: None }, Millis(0)).await
    }
}
