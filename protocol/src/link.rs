//! The ports over which a worker and a client reach the system. Two adapters stand behind each: NATS (`stepmill-nats`)
//! and the embedded broker (`stepmill-coordinator`). Futures are boxed by hand so that this package needs no runtime.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::ask::{AskAnswer, AskRequest};
use crate::codec::ContentType;
use crate::event::{DeadLetter, LogRecord};
use crate::id::{Namespace, PartitionNo, PoolName, StepKind};
use crate::problem::Problem;
use crate::task::Task;
use crate::time::Timestamp;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The broker could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LinkError {
    /// What happened, and what to do.
    pub message: String,
    /// Whether trying again can help.
    pub retryable: bool,
    /// Whether it may have happened all the same (a lost answer).
    pub may_have_happened: bool,
}

/// One arrival of a task at a worker.
#[derive(Debug)]
pub struct Delivery {
    /// The task, or the bytes and the reason why they are none.
    pub task: Result<Task, Undecodable>,
    /// How often it has been delivered, this time included (from 1).
    pub deliveries: u64,
    /// The owner published it again after a takeover or a loss (header `Sm-Again`).
    pub again: bool,
    /// The handle for ack, negative-ack and progress. Opaque.
    pub ack: AckId,
    /// When the broker stored the task, where it says so. For measuring only: the clock is the broker's.
    pub stored_at: Option<Timestamp>,
}

/// A task message that cannot be read.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Why.
    pub reason: String,
    /// The message.
    pub bytes: Vec<u8>,
}

/// The broker's handle for a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AckId(pub String);

/// What a worker needs from the broker.
pub trait WorkerLink: Send + Sync + 'static {
    /// Says that this worker serves `pool` with these kinds, and makes sure that the pool's queue exists (or waits until
    /// a coordinator has made it). Called once before the first fetch.
    fn join<'a>(&'a self, pool: &'a PoolName, kinds: &'a [StepKind]) -> BoxFuture<'a, Result<(), LinkError>>;

    /// Takes up to `max` tasks, higher priorities first. Waits up to `wait` for the first; returns what is there then,
    /// perhaps nothing.
    fn fetch<'a>(
        &'a self,
        pool: &'a PoolName,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, LinkError>>;

    /// Appends a report to the run's partition of the log; resolves when it is stored.
    fn report<'a>(
        &'a self,
        pool: &'a PoolName,
        partition: PartitionNo,
        record: LogRecord,
    ) -> BoxFuture<'a, Result<(), LinkError>>;

    /// Asks the owner of a partition.
    fn ask<'a>(
        &'a self,
        pool: &'a PoolName,
        partition: PartitionNo,
        request: AskRequest,
    ) -> BoxFuture<'a, Result<AskAnswer, LinkError>>;

    /// The task is done with: remove it. Nobody confirms it: should it get lost, the task is delivered again after the ack
    /// wait, and the owner answers that it is done.
    fn ack<'a>(&'a self, ack: &'a AckId) -> BoxFuture<'a, Result<(), LinkError>>;

    /// Deliver it again after `delay`.
    fn nak<'a>(&'a self, ack: &'a AckId, delay: Duration) -> BoxFuture<'a, Result<(), LinkError>>;

    /// Resolves when all that was handed over before has left this process, for one that is about to end. Best effort.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Puts a task aside for a person; resolves when it is stored. The caller acks afterwards.
    fn bury<'a>(&'a self, pool: &'a PoolName, letter: DeadLetter) -> BoxFuture<'a, Result<(), LinkError>>;

    /// Opens the way for progress signs. Called on the heartbeat thread's own runtime; what it opens lives there, so
    /// that a handler that blocks the other threads does not silence it.
    fn heartbeat<'a>(&'a self, pool: &'a PoolName) -> BoxFuture<'a, Result<Box<dyn Heartbeat>, LinkError>>;
}

/// Tells the broker that deliveries are still worked on.
pub trait Heartbeat: Send {
    /// How long after the last sign the broker delivers a task to somebody else.
    fn ack_wait(&self) -> Duration;

    /// Extends these deliveries by the ack wait. Fire and forget.
    fn progress<'a>(&'a mut self, acks: &'a [AckId]) -> BoxFuture<'a, ()>;
}

/// How a client reaches the API: `verb` in `namespace` with a body, answered by a body or a problem.
pub trait ApiCaller: Send + Sync + 'static {
    /// Makes one call. `timeout` bounds the whole of it.
    fn call<'a>(
        &'a self,
        namespace: &'a Namespace,
        verb: &'a str,
        content: ContentType,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, Problem>>;
}
