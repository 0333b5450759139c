//! Who is alive and who holds which partition. Times live in memory: when the process ends, all its leases have ended. Epochs
//! are stored, so that none is ever given out twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redb::ReadableTable;
use stepmill_protocol::PartitionNo;
use tokio::time::Instant;

use super::{Tables, Write, key, read_record, write_record};
use crate::port::store::Lease;

/// Who is alive, and until when leases hold.
#[derive(Default)]
pub(crate) struct Leases {
    alive: Mutex<BTreeMap<String, Instant>>,
    held: Mutex<BTreeMap<PartitionNo, (Lease, Instant)>>,
}

impl Leases {
    pub(crate) fn beat(&self, owner: &str, ttl_ms: u64) -> Vec<String> {
        let now = Instant::now();
        let mut alive = self.alive.lock();
        alive.insert(owner.into(), after(now, ttl_ms));
        alive.retain(|_, until| *until > now);
        alive.keys().cloned().collect()
    }

    pub(crate) fn leave(&self, owner: &str) {
        self.alive.lock().remove(owner);
    }

    /// Whether `owner` may take the partition.
    fn is_free_for(&self, partition: PartitionNo, owner: &str, now: Instant) -> bool {
        self.held.lock().get(&partition).is_none_or(|(lease, until)| lease.owner == owner || *until <= now)
    }

    pub(crate) fn renew(&self, partition: PartitionNo, lease: &Lease, ttl_ms: u64) -> bool {
        let now = Instant::now();
        let mut held = self.held.lock();
        match held.get_mut(&partition) {
            Some((known, until)) if known == lease && *until > now => {
                *until = after(now, ttl_ms);
                true
            }
            Some(_) | None => false,
        }
    }

    fn release(&self, partition: PartitionNo, lease: &Lease) {
        let mut held = self.held.lock();
        if held.get(&partition).is_some_and(|(known, _)| known == lease) {
            held.remove(&partition);
        }
    }
}

fn after(now: Instant, ttl_ms: u64) -> Instant {
    // A lease of more than a year is one for ever, and no clock overflows.
    now + Duration::from_millis(ttl_ms.min(366 * 24 * 3_600_000))
}

/// The lease that was given out last, as it is stored. The owner is empty after a release.
pub(crate) fn stored_lease(tables: &Tables<'_>, partition: PartitionNo) -> Result<Lease, redb::Error> {
    let row = tables.misc.get(key::misc::lease(partition).as_slice())?;
    let (owner, epoch) = row.map(|r| read_record("a lease", r.value())).transpose()?.unwrap_or_default();
    Ok(Lease { owner, epoch })
}

fn store_lease(tables: &mut Tables<'_>, partition: PartitionNo, lease: &Lease) -> Result<(), redb::Error> {
    let row = write_record("a lease", &(&lease.owner, lease.epoch))?;
    tables.misc.insert(key::misc::lease(partition).as_slice(), row.as_slice())?;
    Ok(())
}

/// Takes a partition.
pub(crate) struct Acquire {
    pub(crate) leases: Arc<Leases>,
    pub(crate) partition: PartitionNo,
    pub(crate) owner: String,
    pub(crate) ttl_ms: u64,
    pub(crate) epoch_min: u64,
    pub(crate) taken: Option<(Lease, Option<(Lease, Instant)>)>,
}

impl Write for Acquire {
    type Out = Option<Lease>;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let now = Instant::now();
        if !self.leases.is_free_for(self.partition, &self.owner, now) {
            return Ok(());
        }
        let epoch = stored_lease(tables, self.partition)?.epoch.saturating_add(1).max(self.epoch_min);
        let lease = Lease { owner: self.owner.clone(), epoch };
        store_lease(tables, self.partition, &lease)?;
        // Held from now on, so that the next write of this transaction does not take it too.
        let before = self.leases.held.lock().insert(self.partition, (lease.clone(), after(now, self.ttl_ms)));
        self.taken = Some((lease, before));
        Ok(())
    }

    fn stored(self) -> Option<Lease> {
        self.taken.map(|(lease, _)| lease)
    }

    fn lost(self) {
        if let Some((_, before)) = self.taken {
            let mut held = self.leases.held.lock();
            match before {
                Some(before) => held.insert(self.partition, before),
                None => held.remove(&self.partition),
            };
        }
    }
}

/// Gives a partition back: its lease cannot commit any more.
pub(crate) struct Release {
    pub(crate) leases: Arc<Leases>,
    pub(crate) partition: PartitionNo,
    pub(crate) lease: Lease,
}

impl Write for Release {
    type Out = ();

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        if stored_lease(tables, self.partition)? == self.lease {
            let free = Lease { owner: String::new(), epoch: self.lease.epoch };
            store_lease(tables, self.partition, &free)?;
        }
        Ok(())
    }

    fn stored(self) {
        self.leases.release(self.partition, &self.lease);
    }
}
