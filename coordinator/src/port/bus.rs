//! Port: short-lived messages between processes. Nothing here is stored; whatever matters is in the log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stepmill_protocol::api::{Folded, RunView};
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::{AskAnswer, AskRequest, Namespace, PartitionNo, Problem};

/// A request to a partition's owner from another part of the system.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum OwnerRequest {
    /// A worker asks.
    Ask(AskRequest),
    /// Wait until the run's revision is above `rev` or it has ended, or until `wait_ms` has passed. Unless the answer shows the run's
    /// end, the caller reads the store.
    Watch {
        /// The run.
        run: stepmill_protocol::RunId,
        /// The revision already known.
        rev: u64,
        /// Wait for the end, not for any change.
        until_end: bool,
        /// Wait also for a run that does not exist; else that is answered at once.
        even_unknown: bool,
        /// The longest wait.
        wait_ms: u64,
    },
    /// Look again what is held back; answered when that is known.
    Holds,
}

/// The owner's answer.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum OwnerAnswer {
    /// To `Ask`.
    Ask(AskAnswer),
    /// To `Watch`: something happened, or the time is up. To `Holds`: it is known.
    Seen,
    /// To `Watch`, within one process: the run has ended, and its end is committed.
    Ended(Box<RunView>),
}

/// Answers requests to the owner of a partition.
pub trait OwnerHandler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, partition: PartitionNo, request: OwnerRequest) -> BoxFuture<'static, OwnerAnswer>;
}

/// Answers calls of the API.
pub trait ApiHandler: Send + Sync + 'static {
    /// Answers one call.
    fn handle(
        &self,
        namespace: Namespace,
        verb: String,
        content: ContentType,
        body: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<u8>, Problem>>;
}

/// A place that waits for the owner's answer to one record.
pub struct Waiting {
    /// Goes into [`stepmill_protocol::LogRecord::reply`].
    pub address: String,
    /// Resolves with the answer; an error when it can no longer come.
    pub answer: BoxFuture<'static, Result<Folded, String>>,
}

/// Something that goes on until it is dropped (a subscription).
pub type Guard = Box<dyn std::any::Any + Send + Sync>;

/// Short-lived messages.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// A new place to wait for an answer.
    fn wait(&self) -> Waiting;

    /// Sends the owner's answer to a waiting place, wherever that is. Fire and forget.
    fn answer(&self, address: &str, folded: &Folded);

    /// Serves requests to the owner of a partition until the guard is dropped.
    async fn serve_owner(&self, partition: PartitionNo, handler: Arc<dyn OwnerHandler>) -> Result<Guard, Problem>;

    /// Asks the owner of a partition. A problem with status 503 when there is none at the moment.
    async fn ask_owner(
        &self,
        partition: PartitionNo,
        request: &OwnerRequest,
        timeout: Duration,
    ) -> Result<OwnerAnswer, Problem>;

    /// Serves the API until the guard is dropped.
    async fn serve_api(&self, handler: Arc<dyn ApiHandler>) -> Result<Guard, Problem>;
}
