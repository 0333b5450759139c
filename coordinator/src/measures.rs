//! What a coordinator counts for those who watch it. Noting something costs a relaxed addition; what owners hold back is noted
//! every few seconds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{PartitionNo, PoolName};
use tokio::time::Instant;

use crate::port::store::RunWrite;

/// The counters of one coordinator.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    folded: AtomicU64,
    taken_up: AtomicU64,
    ended: [AtomicU64; RunState::ALL.len()],
    held: Mutex<BTreeMap<PartitionNo, Held>>,
}

/// Open dispatches of one partition that are in no queue yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// How many wait for room, and since when the oldest does, by pool.
    pub(crate) pools: BTreeMap<PoolName, (u64, Instant)>,
    /// The oldest that waits or is on its way, whatever its pool.
    pub(crate) oldest: Option<Instant>,
}

/// The numbers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) folded: u64,
    pub(crate) taken_up: u64,
    /// In the order of [`RunState::ALL`].
    pub(crate) ended: Vec<(RunState, u64)>,
    /// All partitions together.
    pub(crate) held: Held,
}

impl Measures {
    /// A batch of so many events is committed.
    pub(crate) fn folded(&self, events: usize) {
        self.folded.fetch_add(events as u64, Relaxed);
    }

    /// A partition was taken up.
    pub(crate) fn taken_up(&self) {
        self.taken_up.fetch_add(1, Relaxed);
    }

    /// A commit brought these runs to their ends.
    pub(crate) fn ended(&self, states: &[RunState]) {
        for state in states {
            if let Some(place) = RunState::ALL.iter().position(|s| s == state) {
                self.ended[place].fetch_add(1, Relaxed);
            }
        }
    }

    /// What a partition holds back now.
    pub(crate) fn held(&self, partition: PartitionNo, held: Held) {
        self.held.lock().insert(partition, held);
    }

    /// Somebody else has the partition, or nobody.
    pub(crate) fn forget(&self, partition: PartitionNo) {
        self.held.lock().remove(&partition);
    }

    pub(crate) fn counted(&self) -> Counted {
        let mut all = Held::default();
        for held in self.held.lock().values() {
            all.oldest = all.oldest.into_iter().chain(held.oldest).min();
            for (pool, (count, since)) in &held.pools {
                let sum = all.pools.entry(pool.clone()).or_insert((0, *since));
                *sum = (sum.0 + count, sum.1.min(*since));
            }
        }
        let final_states = RunState::ALL.iter().zip(&self.ended).filter(|(state, _)| state.is_final());
        Counted {
            folded: self.folded.load(Relaxed),
            taken_up: self.taken_up.load(Relaxed),
            ended: final_states.map(|(state, count)| (*state, count.load(Relaxed))).collect(),
            held: all,
        }
    }
}

/// The final states that these writes bring runs to.
pub(crate) fn ends_in(runs: &[RunWrite]) -> Vec<RunState> {
    let ends = runs.iter().filter(|w| w.index.state.is_final() && !w.state_before.is_some_and(RunState::is_final));
    ends.map(|w| w.index.state).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn partitions_are_summed_and_the_oldest_counts() {
        let (measures, pool) = (Measures::default(), PoolName::new("llm").unwrap());
        let early = Instant::now();
        let late = early + Duration::from_secs(5);
        let held = |count, since| Held { pools: BTreeMap::from([(pool.clone(), (count, since))]), oldest: Some(since) };
        measures.held(PartitionNo(0), held(3, late));
        measures.held(PartitionNo(1), held(4, early));
        measures.held(PartitionNo(2), Held::default());
        assert_eq!(measures.counted().held, held(7, early));
        measures.forget(PartitionNo(1));
        assert_eq!(measures.counted().held, held(3, late));
        measures.held(PartitionNo(0), Held::default());
        assert_eq!(measures.counted().held, Held::default());
    }

    #[test]
    fn only_ends_are_shown() {
        let measures = Measures::default();
        measures.ended(&[RunState::Completed, RunState::Faulted, RunState::Completed]);
        let shown = measures.counted().ended;
        assert_eq!(shown, [(RunState::Completed, 2), (RunState::Faulted, 1), (RunState::Cancelled, 0)]);
    }
}
