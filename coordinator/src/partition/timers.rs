//! Armed timers of a partition, in memory in the order of their time; the store has them too.

use std::collections::{BTreeSet, HashMap, HashSet};

use stepmill_protocol::{RunId, TimerId, Timestamp};

/// Timers that are appended to the log at a time.
pub(super) const FIRED_MAX: usize = 500;

type Key = (RunId, TimerId);

/// The timers of a partition.
#[derive(Default)]
pub(super) struct Timers {
    by_due: BTreeSet<(Timestamp, Key)>,
    due: HashMap<Key, Timestamp>,
    /// Due and on their way to the log; they wait for their own event to come back.
    fired: HashSet<Key>,
}

impl Timers {
    pub(super) fn arm(&mut self, key: Key, due: Timestamp) {
        self.disarm(key);
        self.by_due.insert((due, key));
        self.due.insert(key, due);
    }

    pub(super) fn disarm(&mut self, key: Key) {
        self.fired.remove(&key);
        if let Some(due) = self.due.remove(&key) {
            self.by_due.remove(&(due, key));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Takes those that are due, marking them as on their way.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        let mut taken = Vec::new();
        while taken.len() < FIRED_MAX {
            match self.by_due.first() {
                Some((due, key)) if *due <= now => {
                    let (due, key) = (*due, *key);
                    self.by_due.remove(&(due, key));
                    self.fired.insert(key);
                    taken.push(key);
                }
                Some(_) | None => break,
            }
        }
        taken
    }

    /// They did not reach the log: due again.
    pub(super) fn put_back(&mut self, keys: &[Key]) {
        for key in keys {
            if self.fired.remove(key)
                && let Some(due) = self.due.get(key)
            {
                self.by_due.insert((*due, *key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        (RunId(uuid::Uuid::from_u128(u128::from(n))), TimerId(n))
    }

    #[test]
    fn due_timers_come_once_in_order_and_again_when_put_back() {
        let mut timers = Timers::default();
        timers.arm(key(1), Timestamp(20));
        timers.arm(key(2), Timestamp(10));
        timers.arm(key(3), Timestamp(99));
        assert_eq!(timers.next(), Some(Timestamp(10)));
        assert_eq!(timers.take_due(Timestamp(20)), vec![key(2), key(1)]);
        assert!(timers.take_due(Timestamp(20)).is_empty());
        timers.put_back(&[key(1)]);
        assert_eq!(timers.take_due(Timestamp(20)), vec![key(1)]);
        timers.disarm(key(1));
        timers.put_back(&[key(1)]);
        assert_eq!(timers.next(), Some(Timestamp(99)));
    }

    #[test]
    fn arming_again_moves_a_timer() {
        let mut timers = Timers::default();
        timers.arm(key(1), Timestamp(20));
        timers.arm(key(1), Timestamp(50));
        assert!(timers.take_due(Timestamp(49)).is_empty());
        assert_eq!(timers.take_due(Timestamp(50)), vec![key(1)]);
    }
}
