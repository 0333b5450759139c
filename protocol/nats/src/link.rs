//! The worker's side: tasks in, reports and questions out.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use parking_lot::Mutex;
use stepmill_protocol::codec::{CodecError, pack, unpack};
use stepmill_protocol::link::{AckId, BoxFuture, Delivery, Heartbeat, LinkError, Undecodable, WorkerLink};
use stepmill_protocol::{
    AskAnswer, AskRequest, DeadLetter, LogRecord, PartitionNo, PoolName, Priority, StepKind, Task,
};
use tokio::sync::Mutex as AsyncMutex;

use crate::connect::{ANSWER_WITHIN, Nats};
use crate::error::NatsError;
use crate::heartbeat::NatsHeartbeat;
use crate::publish::{AGAIN_HEADER, Outgoing};
use crate::pull::{Arrived, Puller};
use crate::subject::{self, LogSubject, LogWriter};
use crate::wire::nanos;

/// How long the owner's answer is awaited.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// How long a coordinator may take to make a pool's queue.
const JOIN_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often a worker looks whether its pool's queue has been made.
const JOIN_EVERY: Duration = Duration::from_millis(500);
const ACK: Bytes = Bytes::from_static(b"+ACK");
/// A worker that has not fetched for so long is not going to work on what is still on its way to it.
const IDLE: Duration = Duration::from_millis(400);

/// A worker's link over NATS.
#[derive(Debug)]
pub struct NatsWorkerLink {
    nats: Nats,
    pools: Mutex<BTreeMap<PoolName, Arc<AsyncMutex<Puller>>>>,
}

impl NatsWorkerLink {
    /// A link over this connection.
    #[must_use]
    pub const fn new(nats: Nats) -> Self {
        Self { nats, pools: Mutex::new(BTreeMap::new()) }
    }

    fn puller(&self, pool: &PoolName) -> Arc<AsyncMutex<Puller>> {
        let mut pools = self.pools.lock();
        if let Some(puller) = pools.get(pool) {
            return Arc::clone(puller);
        }
        let consumers = Priority::ALL.map(|p| subject::tasks_consumer(pool, p)).into();
        let usual = Priority::ALL.iter().position(|p| *p == Priority::default()).unwrap_or(0);
        let puller = Puller::new(&self.nats, &subject::tasks_stream(pool), consumers, usual);
        let puller = Arc::new(AsyncMutex::new(puller));
        tokio::spawn(give_back_when_idle(Arc::downgrade(&puller)));
        pools.insert(pool.clone(), Arc::clone(&puller));
        puller
    }

    async fn wait_for_queue(&self, pool: &PoolName) -> Result<(), NatsError> {
        let mut told = false;
        loop {
            match self.nats.ack_wait(pool, Priority::Low).await {
                Ok(_) => return Ok(()),
                Err(NatsError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
            // A coordinator makes it when it hears of us. None there yet is no error: workers may start first.
            let asked = self.nats.request(&subject::join(pool), Bytes::new(), JOIN_ANSWER_WITHIN).await;
            if let Err(error) = asked {
                if !told {
                    tracing::info!(%pool, %error, "waiting until a coordinator makes the pool's queue");
                    told = true;
                }
                tokio::time::sleep(JOIN_EVERY).await;
            }
        }
    }

    async fn confirmed(&self, ack: &AckId, body: Vec<u8>) -> Result<(), NatsError> {
        self.nats.request(&ack.0, body, ANSWER_WITHIN).await.map(drop)
    }

    async fn put_question(
        &self,
        pool: &PoolName,
        partition: PartitionNo,
        request: &AskRequest,
    ) -> Result<AskAnswer, NatsError> {
        let body = pack(request).map_err(unreadable)?;
        let answer = self.nats.request(&subject::ask(pool, partition), body, ASK_WITHIN).await?;
        unpack(&answer).map_err(unreadable)
    }
}

impl WorkerLink for NatsWorkerLink {
    fn join<'a>(&'a self, pool: &'a PoolName, _kinds: &'a [StepKind]) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { Ok(self.wait_for_queue(pool).await?) })
    }

    fn fetch<'a>(
        &'a self,
        pool: &'a PoolName,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, LinkError>> {
        let puller = self.puller(pool);
        Box::pin(async move {
            let arrived = puller.lock().await.fetch(max, wait).await?;
            Ok(arrived.into_iter().map(delivery).collect())
        })
    }

    fn report<'a>(
        &'a self,
        pool: &'a PoolName,
        partition: PartitionNo,
        record: LogRecord,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            let subject = LogSubject { partition, run: record.run, writer: LogWriter::Worker(pool.clone()) };
            let payload = pack(&record).map_err(unreadable)?;
            self.nats.store(Outgoing::new(subject.render(), payload)).await?;
            Ok(())
        })
    }

    fn ask<'a>(
        &'a self,
        pool: &'a PoolName,
        partition: PartitionNo,
        request: AskRequest,
    ) -> BoxFuture<'a, Result<AskAnswer, LinkError>> {
        Box::pin(async move { Ok(self.put_question(pool, partition, &request).await?) })
    }

    fn ack<'a>(&'a self, ack: &'a AckId) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { Ok(self.nats.publish(&ack.0, ACK).await?) })
    }

    fn nak<'a>(&'a self, ack: &'a AckId, delay: Duration) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            let body = format!("-NAK {{\"delay\":{}}}", nanos(delay));
            Ok(self.confirmed(ack, body.into_bytes()).await?)
        })
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.nats.settled().await {
                tracing::warn!(%error, "the last acks may be lost; their tasks are delivered again and found done");
            }
        })
    }

    fn bury<'a>(&'a self, pool: &'a PoolName, letter: DeadLetter) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            crate::dead::store(&self.nats, Some(pool), &letter).await?;
            Ok(())
        })
    }

    fn heartbeat<'a>(&'a self, pool: &'a PoolName) -> BoxFuture<'a, Result<Box<dyn Heartbeat>, LinkError>> {
        Box::pin(async move {
            let heartbeat = NatsHeartbeat::open(&self.nats, pool).await?;
            Ok(Box::new(heartbeat) as Box<dyn Heartbeat>)
        })
    }
}

async fn give_back_when_idle(puller: Weak<AsyncMutex<Puller>>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(puller) = puller.upgrade() else { return };
        // Locked means that somebody is fetching.
        if let Ok(mut puller) = puller.try_lock() {
            puller.give_back_when_idle(IDLE);
        }
    }
}

fn delivery(arrived: Arrived) -> Delivery {
    let Arrived { message, ack, deliveries, stored_at, .. } = arrived;
    let again = has_header(&message, AGAIN_HEADER);
    let task = unpack::<Task>(&message.payload)
        .map_err(|e| Undecodable { reason: e.to_string(), bytes: message.payload.to_vec() });
    Delivery { task, deliveries, again, ack: AckId(ack.to_string()), stored_at: Some(stored_at) }
}

fn has_header(message: &Message, name: &str) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get(name).is_some())
}

fn unreadable(e: CodecError) -> NatsError {
    NatsError::malformed(e.what, e.reason)
}
