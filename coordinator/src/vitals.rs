//! Whether a coordinator is alive and ready: what its parts say of themselves, judged when somebody asks. Alive is one that a
//! restart would not help; ready is one whose answers are good, be it that it owns partitions or that others do.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use stepmill_protocol::PartitionNo;
use tokio::time::Instant;

/// A part that says nothing for this long has stopped: each says something every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Leases that were not kept for this long are lost, whatever this coordinator believes.
const UNKEPT_MAX: Duration = Duration::from_secs(5);
/// Says nothing, and need not.
const UNWATCHED: u64 = 0;

/// What the parts of a coordinator say of themselves. Moments are milliseconds since the start, plus one.
#[derive(Debug)]
pub(crate) struct Vitals {
    began: Instant,
    /// The last turn of the leases' keeper, and the last one that reached the store.
    beat: AtomicU64,
    kept: AtomicU64,
    /// Coordinators that are there, this one included.
    members: AtomicUsize,
    /// The last turn of each partition's owner, while it serves.
    owners: Vec<AtomicU64>,
}

impl Vitals {
    pub(crate) fn new(partitions: u16) -> Self {
        Self {
            began: Instant::now(),
            beat: AtomicU64::new(1),
            kept: AtomicU64::new(UNWATCHED),
            members: AtomicUsize::new(1),
            owners: (0..partitions).map(|_| AtomicU64::new(UNWATCHED)).collect(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn silent_for(&self, part: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(part.load(Relaxed)))
    }

    /// The keeper of the leases begins another turn.
    pub(crate) fn beats(&self) {
        self.beat.store(self.now(), Relaxed);
    }

    /// The store knows that this coordinator is there, among so many.
    pub(crate) fn kept(&self, members: usize) {
        self.members.store(members, Relaxed);
        self.kept.store(self.now(), Relaxed);
    }

    /// The owner of a partition serves and turns.
    pub(crate) fn turns(&self, partition: PartitionNo) {
        if let Some(owner) = self.owners.get(usize::from(partition.0)) {
            owner.store(self.now(), Relaxed);
        }
    }

    /// The owner of a partition has gone, or is about to begin again.
    pub(crate) fn rests(&self, partition: PartitionNo) {
        if let Some(owner) = self.owners.get(usize::from(partition.0)) {
            owner.store(UNWATCHED, Relaxed);
        }
    }

    /// What stands still.
    pub(crate) fn fault(&self) -> Option<String> {
        let silent = self.silent_for(&self.beat);
        if silent > SILENCE_MAX {
            return Some(format!("leases are not looked after since {} s", silent.as_secs()));
        }
        let watched = self.owners.iter().enumerate().filter(|(_, owner)| owner.load(Relaxed) != UNWATCHED);
        let mut silent = watched.map(|(partition, owner)| (partition, self.silent_for(owner)));
        let (partition, silent) = silent.find(|(_, silent)| *silent > SILENCE_MAX)?;
        Some(format!("the owner of partition {partition} stands still since {} s", silent.as_secs()))
    }

    /// Why this coordinator is of no use at the moment, as far as leases tell: it owns so many partitions.
    pub(crate) fn unready(&self, owned: usize) -> Option<&'static str> {
        if self.kept.load(Relaxed) == UNWATCHED || self.silent_for(&self.kept) > UNKEPT_MAX {
            return Some("the store does not answer");
        }
        (owned == 0 && self.members.load(Relaxed) < 2).then_some("no coordinator owns a partition yet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_stands_still_is_a_fault_until_it_has_gone() {
        let vitals = Vitals::new(8);
        vitals.turns(PartitionNo(3));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(vitals.fault().unwrap().contains("leases"));
        vitals.beats();
        assert_eq!(vitals.fault().unwrap(), "the owner of partition 3 stands still since 61 s");
        vitals.turns(PartitionNo(3));
        assert_eq!(vitals.fault(), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        vitals.rests(PartitionNo(3));
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(vitals.fault(), None);
        vitals.turns(PartitionNo(900));
    }

    #[tokio::test(start_paused = true)]
    async fn one_without_partitions_is_ready_beside_another() {
        let vitals = Vitals::new(8);
        assert_eq!(vitals.unready(0), Some("the store does not answer"));
        vitals.kept(1);
        assert_eq!(vitals.unready(0), Some("no coordinator owns a partition yet"));
        assert_eq!(vitals.unready(2), None);
        vitals.kept(2);
        assert_eq!(vitals.unready(0), None);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(vitals.unready(2), Some("the store does not answer"));
    }
}
