//! The coordinator: sends each run's next task when the result of the one before is committed.

use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::error::FloorError;
use crate::layout::Layout;
use crate::mark::Mark;
use crate::pass::{Load, Outcome, Pass};
use crate::store::Store;
use crate::variant::Variant;
use crate::wire::{ACK, Arrival, ROOM, STALL, Wire};

/// Batches that may be on their way to Redis at a time; what comes meanwhile makes the next batch larger.
const COMMITS_MAX: usize = 2;

/// A result that has come.
struct Done {
    mark: Mark,
    ack: async_nats::Subject,
}

/// Runs loads, one after the other.
pub struct Coordinator {
    layout: Layout,
    wire: Wire,
    store: Store,
    loads: u64,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Connects to fresh servers and makes the streams.
    ///
    /// # Errors
    /// [`FloorError`] when a server does not answer or refuses.
    pub async fn open(nats_url: &str, redis_url: &str, variant: Variant) -> Result<Self, FloorError> {
        let layout = Layout::new(variant)?;
        let mut wire = Wire::connect(nats_url, "stepmill-floor-coordinator").await?;
        layout.make(&wire.client, nats_url).await?;
        let sources = layout.results(&wire.client).await?;
        wire.pull_from(&sources, ROOM).await?;
        Ok(Self { layout, wire, store: Store::connect(redis_url).await?, loads: 0 })
    }

    /// Runs all of it to the end; a worker must be there.
    ///
    /// # Errors
    /// [`FloorError`] with the first thing that goes wrong, or that does not happen.
    pub async fn run(&mut self, load: Load) -> Result<Outcome, FloorError> {
        self.loads += 1;
        let rest = vec![b'x'; load.payload_bytes];
        let mut pass = Pass::new(load, self.loads);
        let begun = Instant::now();
        let mut unconfirmed = 0_usize;
        while let Some(task) = pass.begin() {
            self.send(task, &rest).await?;
            unconfirmed += 1;
        }
        let mut commits = FuturesUnordered::new();
        let mut waiting: Vec<Done> = Vec::new();
        while !pass.is_over() || unconfirmed > 0 {
            tokio::select! {
                biased;
                Some(committed) = commits.next() => {
                    let committed: Vec<Done> = committed?;
                    unconfirmed += self.go_on(committed, &mut pass, &rest).await?;
                }
                arrived = timeout(STALL, self.wire.arrivals()) => {
                    let stalled = |_| FloorError::Stalled(STALL, pass.under_way(), unconfirmed);
                    for message in arrived.map_err(stalled)?? {
                        match self.wire.read(message)? {
                            Arrival::Delivery { payload, ack } => waiting.push(self.result(&payload, ack)?),
                            Arrival::Confirmed { .. } => unconfirmed = unconfirmed.saturating_sub(1),
                            Arrival::Nothing => {}
                        }
                    }
                    self.wire.top_up_all().await?;
                }
            }
            if !waiting.is_empty() && commits.len() < COMMITS_MAX {
                commits.push(commit(self.store.clone(), std::mem::take(&mut waiting)));
            }
        }
        Ok(pass.outcome(begun.elapsed()))
    }

    fn result(&mut self, payload: &[u8], ack: async_nats::Subject) -> Result<Done, FloorError> {
        let mark = Mark::of(payload)?;
        self.wire.freed(self.layout.source_of(mark));
        Ok(Done { mark, ack })
    }

    /// What follows a commit: acks, next tasks, new runs. Says how many tasks were sent.
    async fn go_on(&self, committed: Vec<Done>, pass: &mut Pass, rest: &[u8]) -> Result<usize, FloorError> {
        let mut sent = 0;
        for done in committed {
            if self.layout.acks_results() {
                let acked = self.wire.client.publish(done.ack, ACK).await;
                acked.map_err(|e| FloorError::nats("an ack", e))?;
            }
            let next = pass.advance(done.mark)?;
            if let Some(task) = next.or_else(|| pass.begin()) {
                self.send(task, rest).await?;
                sent += 1;
            }
        }
        Ok(sent)
    }

    async fn send(&self, task: Mark, rest: &[u8]) -> Result<(), FloorError> {
        let (subject, payload, reply) = (self.layout.task_subject(), task.payload(rest), self.wire.reply(0));
        let sent = match self.layout.task_headers(task) {
            Some(headers) => self.wire.client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
            None => self.wire.client.publish_with_reply(subject, reply, payload).await,
        };
        sent.map_err(|e| FloorError::nats("a task", e))
    }
}

async fn commit(store: Store, results: Vec<Done>) -> Result<Vec<Done>, FloorError> {
    let marks: Vec<Mark> = results.iter().map(|done| done.mark).collect();
    let refused = store.commit(&marks).await?.into_iter().filter(|written| !written).count();
    if refused > 0 { Err(FloorError::Refused(refused)) } else { Ok(results) }
}
