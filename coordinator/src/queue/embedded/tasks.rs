//! The port `Tasks`, and the window in which a message id is remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use stepmill_protocol::{CommandId, PoolName};

use super::board::Board;
use super::publish::{Publish, Remove};
use crate::port::queue::{Backlog, OutgoingTask, QueueError, Tasks};
use crate::port::store::Published;
use crate::store::embedded::Core;

/// Message ids that are remembered at a time.
const REMEMBERED_MAX: usize = 100_000;

/// The task queues, in the embedded database.
pub(crate) struct EmbeddedTasks {
    core: Arc<Core>,
    board: Arc<Board>,
    dedup: Arc<Dedup>,
    stream: String,
}

impl EmbeddedTasks {
    pub(crate) fn new(core: Arc<Core>, board: Arc<Board>, stream: String, window: Duration) -> Self {
        Self { core, board, dedup: Arc::new(Dedup { window, seen: Mutex::default() }), stream }
    }

    fn is_here(&self, pool: &PoolName, message: &Published) -> bool {
        message.stream == self.stream && self.board.holds(pool, message.seq)
    }
}

#[async_trait]
impl Tasks for EmbeddedTasks {
    async fn ensure(&self, pool: &PoolName) -> Result<(), QueueError> {
        self.board.pool(pool);
        Ok(())
    }

    async fn publish(&self, tasks: Vec<OutgoingTask>) -> Vec<Result<Published, QueueError>> {
        let count = tasks.len();
        let publish = Publish::new(tasks, Arc::clone(&self.board), Arc::clone(&self.dedup));
        match self.core.write(publish).await {
            Ok(answers) => {
                answers.into_iter().map(|a| a.map(|seq| Published { seq, stream: self.stream.clone() })).collect()
            }
            Err(failure) => (0..count).map(|_| Err(failure.clone().into())).collect(),
        }
    }

    async fn find(&self, pool: &PoolName, ids: &[CommandId]) -> Result<Vec<Option<Published>>, QueueError> {
        let found = self.board.find(pool, ids);
        let at = |id: &CommandId| found.get(id).map(|seq| Published { seq: *seq, stream: self.stream.clone() });
        Ok(ids.iter().map(at).collect())
    }

    async fn gone(&self, pool: &PoolName, messages: &[Published]) -> Result<Vec<bool>, QueueError> {
        Ok(messages.iter().map(|message| !self.is_here(pool, message)).collect())
    }

    async fn backlogs(&self) -> Result<BTreeMap<PoolName, Backlog>, QueueError> {
        Ok(self.board.backlogs())
    }

    async fn remove(&self, pool: &PoolName, messages: &[Published]) {
        let seqs: Vec<u64> = messages.iter().filter(|m| self.is_here(pool, m)).map(|m| m.seq).collect();
        if !seqs.is_empty()
            && let Err(failure) = self.core.write(Remove { seqs, board: Arc::clone(&self.board) }).await
        {
            tracing::warn!(%pool, "tasks were not removed: {failure}");
        }
    }
}

/// The message ids of the last while. Saves work, and is never relied on: it is in memory and has an end.
pub(super) struct Dedup {
    window: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    seqs: HashMap<(PoolName, String), u64>,
    order: VecDeque<(Instant, (PoolName, String))>,
}

impl Dedup {
    /// The number under which this message was published within the window.
    pub(super) fn find(&self, pool: &PoolName, message_id: &str) -> Option<u64> {
        let mut seen = self.seen.lock();
        seen.forget(self.window);
        seen.seqs.get(&(pool.clone(), message_id.to_owned())).copied()
    }

    pub(super) fn remember(&self, pool: &PoolName, message_id: &str, seq: u64) {
        if self.window.is_zero() {
            return;
        }
        let id = (pool.clone(), message_id.to_owned());
        let mut seen = self.seen.lock();
        seen.seqs.insert(id.clone(), seq);
        seen.order.push_back((Instant::now(), id));
    }

    pub(super) fn forget_all(&self) {
        *self.seen.lock() = Seen::default();
    }
}

impl Seen {
    fn forget(&mut self, window: Duration) {
        while let Some((at, id)) = self.order.front()
            && (at.elapsed() >= window || self.order.len() > REMEMBERED_MAX)
        {
            self.seqs.remove(id);
            self.order.pop_front();
        }
    }
}
