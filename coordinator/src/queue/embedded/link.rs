//! What a worker in this process needs: the port `WorkerLink` over board, log, archive and bus.

use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::link::{AckId, BoxFuture, Delivery, Heartbeat, LinkError, WorkerLink};
use stepmill_protocol::{
    AskAnswer, AskRequest, DeadLetter, LogRecord, Millis, PartitionNo, PoolName, StepKind, Timestamp,
};
use tokio::time::Instant;

use super::archive::EmbeddedArchive;
use super::board::{Board, Handed};
use super::bus::EmbeddedBus;
use super::log::EmbeddedLog;
use super::publish::{Count, Remove};
use crate::clock::{Clock, SystemClock};
use crate::port::bus::{Bus, OwnerAnswer, OwnerRequest};
use crate::port::queue::{Archive, QueueError, Source};
use crate::store::embedded::Core;

/// How long a worker's question waits for the owner.
const ASK_WAIT: Duration = Duration::from_secs(1);

/// A worker's way to everything.
pub(crate) struct EmbeddedLink {
    pub(crate) core: Arc<Core>,
    pub(crate) board: Arc<Board>,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) archive: Arc<EmbeddedArchive>,
    pub(crate) bus: Arc<EmbeddedBus>,
}

fn lost(error: QueueError) -> LinkError {
    LinkError { message: error.message, retryable: error.retryable, may_have_happened: error.retryable }
}

fn refused(message: String) -> LinkError {
    LinkError { message, retryable: true, may_have_happened: false }
}

/// Number and delivery, as text.
fn ack_id(seq: u64, delivery: u64) -> AckId {
    AckId(format!("{seq}.{delivery}"))
}

fn read_ack(ack: &AckId) -> Result<(u64, u64), LinkError> {
    let parts = ack.0.split_once('.').and_then(|(seq, delivery)| Some((seq.parse().ok()?, delivery.parse().ok()?)));
    parts.ok_or_else(|| LinkError {
        message: format!("`{}` is no delivery of this broker", ack.0),
        retryable: false,
        may_have_happened: false,
    })
}

impl EmbeddedLink {
    async fn fetch(&self, pool: &PoolName, max: usize, wait: Duration) -> Result<Vec<Delivery>, LinkError> {
        let end = Instant::now() + wait.min(Duration::from_secs(3_600));
        let woken = self.board.pool(pool);
        loop {
            let (handed, next) = self.board.take(pool, max);
            if !handed.is_empty() {
                return self.deliver(handed).await;
            }
            if Instant::now() >= end || max == 0 {
                return Ok(Vec::new());
            }
            let until = next.map_or(end, |next| next.min(end));
            tokio::select! {
                () = woken.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn deliver(&self, handed: Vec<Handed>) -> Result<Vec<Delivery>, LinkError> {
        let again: Vec<(u64, u64)> =
            handed.iter().filter(|h| h.deliveries > 1).map(|h| (h.seq, h.deliveries)).collect();
        if !again.is_empty()
            && let Err(failure) = self.core.write(Count(again)).await
        {
            handed.iter().for_each(|h| self.board.delay(h.seq, h.deliveries, Duration::ZERO));
            return Err(failure.into());
        }
        let now = SystemClock.now();
        let delivery = |Handed { seq, deliveries, again, body, age }: Handed| Delivery {
            task: body.map(Arc::unwrap_or_clone),
            deliveries,
            again,
            ack: ack_id(seq, deliveries),
            stored_at: Some(Timestamp(now.0.saturating_sub(Millis::from(age).0))),
        };
        Ok(handed.into_iter().map(delivery).collect())
    }

    async fn ask(&self, partition: PartitionNo, request: AskRequest) -> Result<AskAnswer, LinkError> {
        let answer = self.bus.ask_owner(partition, &OwnerRequest::Ask(request), ASK_WAIT).await;
        match answer.map_err(|problem| refused(problem.to_string()))? {
            OwnerAnswer::Ask(answer) => Ok(answer),
            OwnerAnswer::Seen | OwnerAnswer::Ended(_) => {
                Err(refused("the owner answered another question; ask again".into()))
            }
        }
    }
}

impl WorkerLink for EmbeddedLink {
    fn join<'a>(&'a self, pool: &'a PoolName, _: &'a [StepKind]) -> BoxFuture<'a, Result<(), LinkError>> {
        self.board.pool(pool);
        Box::pin(async { Ok(()) })
    }

    fn fetch<'a>(
        &'a self,
        pool: &'a PoolName,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, LinkError>> {
        Box::pin(self.fetch(pool, max, wait))
    }

    fn report<'a>(
        &'a self,
        pool: &'a PoolName,
        partition: PartitionNo,
        record: LogRecord,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            let source = Source::Worker(pool.clone());
            self.log.append_from(partition, &source, std::iter::once(record)).await.map(drop).map_err(lost)
        })
    }

    fn ask<'a>(
        &'a self,
        _: &'a PoolName,
        partition: PartitionNo,
        request: AskRequest,
    ) -> BoxFuture<'a, Result<AskAnswer, LinkError>> {
        Box::pin(self.ask(partition, request))
    }

    fn ack<'a>(&'a self, ack: &'a AckId) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            let (seq, delivery) = read_ack(ack)?;
            // While the ack is being stored the task is not given to somebody else.
            self.board.extend(std::iter::once((seq, delivery)));
            Ok(self.core.write(Remove { seqs: vec![seq], board: Arc::clone(&self.board) }).await?)
        })
    }

    fn nak<'a>(&'a self, ack: &'a AckId, delay: Duration) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            let (seq, delivery) = read_ack(ack)?;
            self.board.delay(seq, delivery, delay);
            Ok(())
        })
    }

    fn bury<'a>(&'a self, _: &'a PoolName, letter: DeadLetter) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { self.archive.bury(&letter).await.map_err(lost) })
    }

    fn heartbeat<'a>(&'a self, _: &'a PoolName) -> BoxFuture<'a, Result<Box<dyn Heartbeat>, LinkError>> {
        let beat = Beat(Arc::clone(&self.board));
        Box::pin(async { Ok(Box::new(beat) as Box<dyn Heartbeat>) })
    }
}

struct Beat(Arc<Board>);

impl Heartbeat for Beat {
    fn ack_wait(&self) -> Duration {
        self.0.ack_wait
    }

    fn progress<'a>(&'a mut self, acks: &'a [AckId]) -> BoxFuture<'a, ()> {
        self.0.extend(acks.iter().filter_map(|ack| read_ack(ack).ok()));
        Box::pin(async {})
    }
}
