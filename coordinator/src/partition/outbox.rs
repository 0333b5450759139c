//! Open dispatches of a partition: which are published, which wait for room. At most a window's worth per pool is published at a
//! time, so that a stuck pool blocks no other and its backlog stays in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Instant;

use stepmill_protocol::{CommandId, PoolName, Priority, RunId, limit};

use crate::measures::Held;
use crate::port::store::{OutboxEntry, Published};

/// Where an open dispatch is.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Waits for room in its pool's window.
    Queued,
    /// Held back until somebody lets it go.
    Held,
    /// Handed to the relay, or being carried out.
    Publishing,
    /// Cannot be published or carried out now; holds no room meanwhile.
    Resting,
    /// In the pool's stream since then.
    Published(Published, Instant),
}

struct Entry {
    pool: PoolName,
    priority: Priority,
    stage: Stage,
    again: bool,
    /// When it was opened here.
    since: Instant,
}

#[derive(Default)]
struct Window {
    used: usize,
    queued: BTreeMap<Priority, VecDeque<CommandId>>,
}

/// The open dispatches.
pub(super) struct Outbox {
    entries: HashMap<CommandId, Entry>,
    windows: BTreeMap<PoolName, Window>,
    room: usize,
    /// Stream positions that the store does not know yet.
    unsaved: HashSet<CommandId>,
    /// Revoked while they were on their way to their queue.
    revoked: HashSet<CommandId>,
    /// The moment of the batch that is being settled.
    now: Instant,
}

/// A dispatch that may be published now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) id: CommandId,
    pub(super) again: bool,
    /// No worker gets it: the owner carries it out.
    pub(super) system: bool,
}

impl Outbox {
    /// `room`: how many per pool may be published at a time.
    pub(super) fn new(room: usize) -> Self {
        Self {
            entries: HashMap::new(),
            windows: BTreeMap::new(),
            room: room.max(1),
            unsaved: HashSet::new(),
            revoked: HashSet::new(),
            now: Instant::now(),
        }
    }

    /// What is opened from now on is opened at this moment: one look at the clock for a whole batch.
    pub(super) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// A dispatch is open and not published. `again`: it may have been, by an earlier owner.
    pub(super) fn open(&mut self, id: CommandId, pool: PoolName, priority: Priority, again: bool) {
        if self.entries.contains_key(&id) {
            return;
        }
        self.windows.entry(pool.clone()).or_default().queued.entry(priority).or_default().push_back(id);
        self.entries.insert(id, Entry { pool, priority, stage: Stage::Queued, again, since: self.now });
    }

    /// A dispatch that an earlier owner has published.
    pub(super) fn open_published(&mut self, entry: OutboxEntry, now: Instant) {
        let OutboxEntry { id, pool, priority, published } = entry;
        match published {
            None => self.open(id, pool, priority, true),
            Some(at) => {
                self.windows.entry(pool.clone()).or_default().used += 1;
                let stage = Stage::Published(at, now);
                self.entries.insert(id, Entry { pool, priority, stage, again: false, since: now });
            }
        }
    }

    /// A dispatch is settled by its report or its loss: its message is worked off or gone.
    pub(super) fn settle(&mut self, id: &CommandId) {
        self.take_out(id);
    }

    /// A dispatch is settled though its message may wait. Gives the position, where that is known already; else
    /// [`Outbox::is_revoked`] tells when it becomes known.
    pub(super) fn revoke(&mut self, id: &CommandId) -> Option<(PoolName, Published)> {
        let entry = self.take_out(id)?;
        match entry.stage {
            Stage::Queued | Stage::Held | Stage::Resting => None,
            Stage::Publishing if entry.pool.is_system() => None,
            Stage::Publishing => {
                self.revoked.insert(*id);
                None
            }
            Stage::Published(at, _) => Some((entry.pool, at)),
        }
    }

    /// Whether a message that has now been published, or failed to be, is of no use. Says so once.
    pub(super) fn is_revoked(&mut self, id: &CommandId) -> bool {
        self.revoked.remove(id)
    }

    fn take_out(&mut self, id: &CommandId) -> Option<Entry> {
        self.unsaved.remove(id);
        let entry = self.entries.remove(id)?;
        match entry.stage {
            // Its id stays in the queue of its window; `ready` passes over ids that are no longer open.
            Stage::Queued | Stage::Held | Stage::Resting => {}
            Stage::Publishing | Stage::Published(..) => self.release(&entry.pool),
        }
        Some(entry)
    }

    fn release(&mut self, pool: &PoolName) {
        if let Some(window) = self.windows.get_mut(pool) {
            window.used = window.used.saturating_sub(1);
        }
    }

    /// Dispatches that wait and may have been published by an earlier owner, per pool. What the system does itself lies in no queue.
    pub(super) fn doubtful(&self) -> BTreeMap<PoolName, Vec<CommandId>> {
        let mut pools: BTreeMap<PoolName, Vec<CommandId>> = BTreeMap::new();
        for (id, entry) in
            self.entries.iter().filter(|(_, e)| e.again && e.stage == Stage::Queued && !e.pool.is_system())
        {
            pools.entry(entry.pool.clone()).or_default().push(*id);
        }
        pools
    }

    /// A doubtful dispatch was found in its queue.
    pub(super) fn found(&mut self, id: &CommandId, at: Published, now: Instant) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.stage == Stage::Queued
        {
            entry.stage = Stage::Published(at, now);
            self.windows.entry(entry.pool.clone()).or_default().used += 1;
            self.unsaved.insert(*id);
        }
    }

    /// Takes the dispatches that may be published now, most urgent first.
    pub(super) fn ready(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        for (pool, window) in &mut self.windows {
            let room = if pool.is_system() { self.room.min(limit::ACTIONS_MAX) } else { self.room };
            for queue in window.queued.values_mut() {
                while window.used < room {
                    let Some(id) = queue.pop_front() else { break };
                    let Some(entry) = self.entries.get_mut(&id) else { continue };
                    if entry.stage == Stage::Queued {
                        entry.stage = Stage::Publishing;
                        window.used += 1;
                        ready.push(Ready { id, again: entry.again, system: entry.pool.is_system() });
                    }
                }
            }
        }
        ready
    }

    /// A dispatch that was ready is held back: it takes no room.
    pub(super) fn hold(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.stage == Stage::Publishing
        {
            entry.stage = Stage::Held;
            let pool = entry.pool.clone();
            self.release(&pool);
        }
    }

    /// What is held back waits for room again; whoever publishes looks whether it still is.
    pub(super) fn release_held(&mut self) {
        let mut held: Vec<CommandId> =
            self.entries.iter().filter(|(_, e)| e.stage == Stage::Held).map(|(id, _)| *id).collect();
        held.sort_unstable();
        for id in held {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stage = Stage::Queued;
                let window = self.windows.entry(entry.pool.clone()).or_default();
                window.queued.entry(entry.priority).or_default().push_back(id);
            }
        }
    }

    /// The pool of an open dispatch.
    pub(super) fn pool(&self, id: &CommandId) -> Option<&PoolName> {
        self.entries.get(id).map(|entry| &entry.pool)
    }

    /// The broker has stored the task.
    pub(super) fn published(&mut self, id: &CommandId, at: Published, now: Instant) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.stage = Stage::Published(at, now);
            self.unsaved.insert(*id);
        }
    }

    /// It was ready, but there is no room for it now after all: it is the next.
    pub(super) fn put_back(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.stage == Stage::Publishing
        {
            entry.stage = Stage::Queued;
            let window = self.windows.entry(entry.pool.clone()).or_default();
            window.used = window.used.saturating_sub(1);
            window.queued.entry(entry.priority).or_default().push_front(*id);
        }
    }

    /// It cannot be published or carried out now: others have its room.
    pub(super) fn rest(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.stage == Stage::Publishing
        {
            entry.stage = Stage::Resting;
            if let Some(window) = self.windows.get_mut(&entry.pool) {
                window.used = window.used.saturating_sub(1);
            }
        }
    }

    /// It has rested: it waits for room behind the others.
    pub(super) fn rested(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.stage == Stage::Resting
        {
            entry.stage = Stage::Queued;
            let window = self.windows.entry(entry.pool.clone()).or_default();
            window.queued.entry(entry.priority).or_default().push_back(*id);
        }
    }

    /// Runs that still ask something of the system, though they may have ended.
    pub(super) fn asking(&self) -> BTreeSet<RunId> {
        self.entries.iter().filter(|(_, entry)| entry.pool.is_system()).map(|(id, _)| id.run).collect()
    }

    /// The broker has not, or may have: to be published again, with a question.
    pub(super) fn unpublished(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.stage = Stage::Queued;
            entry.again = true;
            let window = self.windows.entry(entry.pool.clone()).or_default();
            window.used = window.used.saturating_sub(1);
            window.queued.entry(entry.priority).or_default().push_front(*id);
        }
    }

    pub(super) fn is_open(&self, id: &CommandId) -> bool {
        self.entries.contains_key(id)
    }

    /// Stream positions that the store should learn. Few: most dispatches are settled before anybody asks for these.
    pub(super) fn take_unsaved(&mut self) -> Vec<OutboxEntry> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved
            .into_iter()
            .filter_map(|id| {
                let entry = self.entries.get(&id)?;
                let Stage::Published(at, _) = &entry.stage else { return None };
                Some(OutboxEntry {
                    id,
                    pool: entry.pool.clone(),
                    priority: entry.priority,
                    published: Some(at.clone()),
                })
            })
            .collect()
    }

    /// What is in no queue yet. What the system does itself never will be.
    pub(super) fn held(&self) -> Held {
        let mut held = Held::default();
        for entry in self.entries.values().filter(|e| !e.pool.is_system()) {
            let since = entry.since.into();
            match entry.stage {
                // What an operator holds back is nobody's backlog.
                Stage::Published(..) | Stage::Held => continue,
                Stage::Publishing => {}
                Stage::Queued | Stage::Resting => {
                    let of_pool = held.pools.entry(entry.pool.clone()).or_insert((0, since));
                    *of_pool = (of_pool.0 + 1, of_pool.1.min(since));
                }
            }
            held.oldest = held.oldest.into_iter().chain([since]).min();
        }
        held
    }

    /// Published dispatches per pool whose message was stored before `before`.
    pub(super) fn published_before(&self, before: Instant) -> BTreeMap<PoolName, Vec<(CommandId, Published)>> {
        let mut pools: BTreeMap<PoolName, Vec<(CommandId, Published)>> = BTreeMap::new();
        for (id, entry) in &self.entries {
            if let Stage::Published(at, since) = &entry.stage
                && *since <= before
            {
                pools.entry(entry.pool.clone()).or_default().push((*id, at.clone()));
            }
        }
        pools
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepmill_protocol::{Pass, RunId, Visit};

    fn id(n: u64) -> CommandId {
        CommandId { run: RunId(uuid::Uuid::from_u128(1)), visit: Visit(n), pass: Pass(0), dispatch: 1 }
    }

    fn pool() -> PoolName {
        PoolName::new("default").unwrap()
    }

    fn ids(ready: &[Ready]) -> Vec<u64> {
        ready.iter().map(|r| r.id.visit.0).collect()
    }

    fn at(seq: u64) -> Published {
        Published { seq, stream: "s".into() }
    }

    #[test]
    fn the_window_holds_back_and_urgent_ones_go_first() {
        let mut outbox = Outbox::new(2);
        outbox.open(id(1), pool(), Priority::Low, false);
        outbox.open(id(2), pool(), Priority::Normal, false);
        outbox.open(id(3), pool(), Priority::High, false);
        assert_eq!(ids(&outbox.ready()), [3, 2]);
        assert!(outbox.ready().is_empty());
        outbox.published(&id(3), at(7), Instant::now());
        assert_eq!(outbox.revoke(&id(3)), Some((pool(), at(7))));
        assert_eq!(ids(&outbox.ready()), [1]);
    }

    #[test]
    fn one_that_rests_holds_no_room_and_comes_back_behind_the_others() {
        let mut outbox = Outbox::new(1);
        for n in 1..=2 {
            outbox.open(id(n), PoolName::system(), Priority::Normal, false);
        }
        assert_eq!(ids(&outbox.ready()), [1]);
        outbox.rest(&id(1));
        assert_eq!(ids(&outbox.ready()), [2]);
        outbox.rested(&id(1));
        assert!(outbox.ready().is_empty());
        outbox.put_back(&id(2));
        assert_eq!(ids(&outbox.ready()), [2], "it was the next");
        outbox.settle(&id(2));
        assert_eq!(ids(&outbox.ready()), [1]);
        outbox.rest(&id(1));
        assert_eq!(outbox.revoke(&id(1)), None);
        outbox.open(id(3), PoolName::system(), Priority::Normal, false);
        assert_eq!(ids(&outbox.ready()), [3], "room was let go once");
    }

    #[test]
    fn no_more_actions_are_under_way_than_their_limit() {
        let mut outbox = Outbox::new(10_000);
        for n in 0..2 * limit::ACTIONS_MAX as u64 {
            outbox.open(id(n), PoolName::system(), Priority::Normal, false);
        }
        assert_eq!(outbox.ready().len(), limit::ACTIONS_MAX);
    }

    #[test]
    fn only_what_was_revoked_on_its_way_is_of_no_use() {
        let mut outbox = Outbox::new(9);
        for n in 1..=2 {
            outbox.open(id(n), pool(), Priority::Normal, false);
        }
        outbox.ready();
        outbox.settle(&id(1));
        assert_eq!(outbox.revoke(&id(2)), None);
        for n in 1..=2 {
            outbox.published(&id(n), at(n), Instant::now());
        }
        assert!(!outbox.is_revoked(&id(1)));
        assert!(outbox.is_revoked(&id(2)) && !outbox.is_revoked(&id(2)));
        assert!(outbox.published_before(Instant::now()).is_empty());
    }

    #[test]
    fn what_is_in_no_queue_is_told_with_the_age_of_the_oldest() {
        let mut outbox = Outbox::new(1);
        let early = Instant::now();
        let late = early + std::time::Duration::from_secs(3);
        for (n, at) in [(1, early), (2, late), (3, early)] {
            outbox.at(at);
            outbox.open(id(n), pool(), Priority::Normal, false);
        }
        outbox.ready();
        outbox.published(&id(1), at(1), late);
        let held = outbox.held();
        assert_eq!((held.pools[&pool()], held.oldest), ((2, early.into()), Some(early.into())));
        outbox.settle(&id(3));
        assert_eq!(outbox.held().pools[&pool()], (1, late.into()));
        outbox.settle(&id(2));
        assert_eq!(outbox.held(), Held::default());
    }

    #[test]
    fn a_failed_publish_is_repeated_with_a_question() {
        let mut outbox = Outbox::new(1);
        outbox.open(id(1), pool(), Priority::Normal, false);
        assert!(!outbox.ready()[0].again);
        outbox.unpublished(&id(1));
        assert_eq!(outbox.ready(), [Ready { id: id(1), again: true, system: false }]);
    }

    #[test]
    fn positions_are_saved_once_and_only_while_open() {
        let mut outbox = Outbox::new(9);
        for n in 1..=2 {
            outbox.open(id(n), pool(), Priority::Normal, false);
        }
        outbox.ready();
        outbox.published(&id(1), at(1), Instant::now());
        outbox.published(&id(2), at(2), Instant::now());
        outbox.settle(&id(1));
        let saved = outbox.take_unsaved();
        assert_eq!(saved.len(), 1);
        assert_eq!(saved[0].id, id(2));
        assert!(outbox.take_unsaved().is_empty());
    }
}
