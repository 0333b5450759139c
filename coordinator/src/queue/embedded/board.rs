//! All unfinished tasks, in memory: which are ready, which are leased to a worker and until when, which wait out a delay. What
//! survives a restart is in the table `task`; after one, every task there is ready again and counts as delivered once.
//!
//! Nothing runs in the background: whoever fetches puts back what is due, and sleeps until the next moment at which something is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redb::{ReadTransaction, ReadableTable};
use stepmill_protocol::link::Undecodable;
use stepmill_protocol::{CommandId, PoolName, Priority, Task};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::publish::TaskRow;
use crate::port::queue::Backlog;
use crate::store::embedded::{Counters, Keeper, TASK, Tables};

/// A task, or what could not be read as one.
pub(super) type Body = Result<Arc<Task>, Undecodable>;

/// A task that is handed out.
pub(super) struct Handed {
    pub(super) seq: u64,
    pub(super) deliveries: u64,
    pub(super) again: bool,
    pub(super) body: Body,
    /// How long ago it was put in; after a restart of the process, how long ago that was.
    pub(super) age: Duration,
}

/// All unfinished tasks.
pub(crate) struct Board {
    pub(super) ack_wait: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: HashMap<u64, Held>,
    pools: HashMap<PoolName, Pool>,
}

#[derive(Default)]
struct Pool {
    /// By priority; the oldest first, so that what comes back goes before what is new.
    ready: [BTreeSet<u64>; 3],
    /// Moments at which a lease or a delay may end. An entry may be out of date; the task says the truth.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    woken: Arc<Notify>,
}

struct Held {
    pool: PoolName,
    priority: Priority,
    again: bool,
    deliveries: u64,
    body: Body,
    place: Place,
    added: Instant,
}

enum Place {
    Ready,
    /// Leased to a worker.
    Leased {
        until: Instant,
    },
    /// Waits out a delay.
    Delayed {
        until: Instant,
    },
}

impl Held {
    fn until(&self) -> Option<Instant> {
        match self.place {
            Place::Ready => None,
            Place::Leased { until } | Place::Delayed { until } => Some(until),
        }
    }
}

impl State {
    fn add(&mut self, seq: u64, row: TaskRow, deliveries: u64) {
        let TaskRow { pool, priority, again, body, .. } = row;
        let queue = self.pools.entry(pool.clone()).or_default();
        queue.ready[priority as usize].insert(seq);
        queue.woken.notify_one();
        self.tasks
            .insert(seq, Held { pool, priority, again, deliveries, body, place: Place::Ready, added: Instant::now() });
    }

    fn remove(&mut self, seq: u64) {
        if let Some(held) = self.tasks.remove(&seq)
            && let Some(pool) = self.pools.get_mut(&held.pool)
        {
            pool.ready[held.priority as usize].remove(&seq);
        }
    }

    /// Makes ready what is due; says when the next comes.
    fn put_back(&mut self, pool: &PoolName, now: Instant) -> Option<Instant> {
        let queue = self.pools.get_mut(pool)?;
        while let Some(Reverse((at, seq))) = queue.due.peek().copied() {
            if at > now {
                return Some(at);
            }
            queue.due.pop();
            let Some(held) = self.tasks.get_mut(&seq) else { continue };
            match held.until() {
                Some(until) if until > now => queue.due.push(Reverse((until, seq))),
                Some(_) => {
                    held.place = Place::Ready;
                    queue.ready[held.priority as usize].insert(seq);
                }
                None => {}
            }
        }
        None
    }

    fn take(&mut self, pool: &PoolName, max: usize, now: Instant, until: Instant) -> Vec<Handed> {
        let Some(queue) = self.pools.get_mut(pool) else { return Vec::new() };
        let mut handed = Vec::new();
        for ready in &mut queue.ready {
            while handed.len() < max
                && let Some(seq) = ready.pop_first()
            {
                let Some(held) = self.tasks.get_mut(&seq) else { continue };
                held.deliveries += 1;
                held.place = Place::Leased { until };
                queue.due.push(Reverse((until, seq)));
                let (deliveries, again, body) = (held.deliveries, held.again, held.body.clone());
                handed.push(Handed { seq, deliveries, again, body, age: now - held.added });
            }
        }
        if queue.ready.iter().any(|ready| !ready.is_empty()) {
            queue.woken.notify_one();
        }
        handed
    }
}

impl Board {
    pub(crate) fn new(ack_wait: Duration) -> Self {
        Self { ack_wait, state: Mutex::default() }
    }

    /// Makes a pool known; gives the sign that something became ready.
    pub(super) fn pool(&self, pool: &PoolName) -> Arc<Notify> {
        Arc::clone(&self.state.lock().pools.entry(pool.clone()).or_default().woken)
    }

    /// Adds tasks that were just stored.
    pub(super) fn add(&self, tasks: impl Iterator<Item = (u64, TaskRow)>) {
        let mut state = self.state.lock();
        for (seq, row) in tasks {
            let deliveries = row.deliveries;
            state.add(seq, row, deliveries);
        }
    }

    /// Hands out what is ready, and says when something may be ready next.
    pub(super) fn take(&self, pool: &PoolName, max: usize) -> (Vec<Handed>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let next = state.put_back(pool, now);
        (state.take(pool, max, now, now + self.ack_wait), next)
    }

    /// Extends the leases of these deliveries; those that are over or were given to somebody else stay as they are.
    pub(super) fn extend(&self, deliveries: impl Iterator<Item = (u64, u64)>) {
        let extended = Instant::now() + self.ack_wait;
        let mut state = self.state.lock();
        for (seq, delivery) in deliveries {
            if let Some(held) = state.tasks.get_mut(&seq)
                && held.deliveries == delivery
                && let Place::Leased { until } = &mut held.place
            {
                *until = extended;
            }
        }
    }

    /// Gives a delivery back for later.
    pub(super) fn delay(&self, seq: u64, delivery: u64, delay: Duration) {
        let until = Instant::now() + delay;
        let mut state = self.state.lock();
        let State { tasks, pools } = &mut *state;
        if let Some(held) = tasks.get_mut(&seq)
            && held.deliveries == delivery
            && matches!(held.place, Place::Leased { .. })
            && let Some(queue) = pools.get_mut(&held.pool)
        {
            held.place = Place::Delayed { until };
            queue.due.push(Reverse((until, seq)));
            queue.woken.notify_one();
        }
    }

    /// Forgets tasks that are no longer stored.
    pub(super) fn remove(&self, seqs: impl Iterator<Item = u64>) {
        let mut state = self.state.lock();
        seqs.for_each(|seq| state.remove(seq));
    }

    /// What each pool has to do.
    pub(super) fn backlogs(&self) -> BTreeMap<PoolName, Backlog> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let pools: Vec<PoolName> = state.pools.keys().cloned().collect();
        let mut all = BTreeMap::new();
        for pool in pools {
            state.put_back(&pool, now);
            all.insert(pool, Backlog::default());
        }
        for held in state.tasks.values() {
            let Some(backlog) = all.get_mut(&held.pool) else { continue };
            match held.place {
                Place::Ready => {
                    backlog.waiting += 1;
                    backlog.oldest = backlog.oldest.max(now - held.added);
                }
                Place::Leased { .. } | Place::Delayed { .. } => backlog.running += 1,
            }
        }
        all
    }

    /// Under which numbers these dispatches lie in a pool's queue.
    pub(super) fn find(&self, pool: &PoolName, ids: &[CommandId]) -> HashMap<CommandId, u64> {
        let wanted: HashSet<&CommandId> = ids.iter().collect();
        let state = self.state.lock();
        let of_pool = state.tasks.iter().filter(|(_, held)| held.pool == *pool);
        let known = of_pool.filter_map(|(seq, held)| held.body.as_ref().ok().map(|task| (task.id, *seq)));
        known.filter(|(id, _)| wanted.contains(id)).collect()
    }

    /// Whether this task is unfinished.
    pub(super) fn holds(&self, pool: &PoolName, seq: u64) -> bool {
        self.state.lock().tasks.get(&seq).is_some_and(|held| held.pool == *pool)
    }
}

impl Keeper for Board {
    fn reload(&self, read: &ReadTransaction, _: &Counters) -> Result<(), redb::Error> {
        let table = read.open_table(TASK)?;
        let mut state = self.state.lock();
        let mut stored = BTreeSet::new();
        for entry in table.iter()? {
            let (seq, row) = entry?;
            let seq = seq.value();
            stored.insert(seq);
            if !state.tasks.contains_key(&seq) {
                let row = TaskRow::read(seq, row.value())?;
                // It may have been delivered before: let the worker ask.
                let deliveries = row.deliveries.max(1);
                state.add(seq, row, deliveries);
            }
        }
        let gone: Vec<u64> = state.tasks.keys().filter(|seq| !stored.contains(seq)).copied().collect();
        gone.into_iter().for_each(|seq| state.remove(seq));
        Ok(())
    }

    fn tidy(&self, _: &mut Tables<'_>) -> Result<(), redb::Error> {
        Ok(())
    }

    fn settled(&self, _: bool) {}
}
