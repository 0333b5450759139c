//! Which partitions this coordinator owns. Coordinators share them evenly: each takes up to its share of what is free and gives back what
//! is above it. A lease that is not renewed is free after its time; correctness does not rest on it, the store refuses stale owners.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmill_protocol::PartitionNo;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::partition;
use crate::port::store::{Lease, StoreError};
use crate::shared::Shared;

struct Owned {
    lease: Lease,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps leases until `stop`; then lets each owner finish its batch and gives everything back.
pub(crate) async fn keep(shared: Arc<Shared>, stop: CancellationToken, ready: tokio::sync::watch::Sender<usize>) {
    let mut owned = BTreeMap::new();
    loop {
        if let Err(error) = beat(&shared, &mut owned).await {
            tracing::warn!(%error, "leases cannot be kept; trying again");
        }
        ready.send_replace(owned.len());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(shared.config.lease_beat) => {}
        }
    }
    let store = shared.ports.store.clone();
    for owned in owned.values() {
        owned.stop.cancel();
    }
    for (partition, owned) in owned {
        give_back(&shared, partition, owned).await;
    }
    ready.send_replace(0);
    if let Err(error) = store.leave(&shared.config.name).await {
        tracing::debug!(%error, "cannot say goodbye; the others notice by themselves");
    }
}

fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

async fn beat(shared: &Arc<Shared>, owned: &mut BTreeMap<PartitionNo, Owned>) -> Result<(), StoreError> {
    let (store, name) = (&shared.ports.store, shared.config.name.as_str());
    let ttl = millis(shared.config.lease_ttl);
    let members = store.beat(name, ttl).await?;
    renew(shared, owned, ttl).await?;
    let share = share(shared.partitions, &members, name);
    while owned.len() > share {
        let Some((partition, surplus)) = owned.pop_last() else { break };
        surplus.stop.cancel();
        give_back(shared, partition, surplus).await;
    }
    for partition in (0..shared.partitions).map(PartitionNo) {
        if owned.len() >= share {
            break;
        }
        if owned.contains_key(&partition) {
            continue;
        }
        let epoch_min = shared.clock.now().0;
        if let Some(lease) = store.acquire(partition, name, ttl, epoch_min).await? {
            let stop = CancellationToken::new();
            let task = tokio::spawn(partition::own(shared.clone(), partition, lease.clone(), stop.clone()));
            owned.insert(partition, Owned { lease, stop, task });
        }
    }
    Ok(())
}

/// Renews all leases and stops the owners whose lease is lost.
async fn renew(shared: &Arc<Shared>, owned: &mut BTreeMap<PartitionNo, Owned>, ttl: u64) -> Result<(), StoreError> {
    let leases: Vec<(PartitionNo, Lease)> = owned.iter().map(|(p, o)| (*p, o.lease.clone())).collect();
    if leases.is_empty() {
        return Ok(());
    }
    let held = shared.ports.store.renew(&leases, ttl).await?;
    for ((partition, _), held) in leases.into_iter().zip(held) {
        if !held && let Some(lost) = owned.remove(&partition) {
            tracing::warn!(%partition, "the lease is lost");
            lost.stop.cancel();
            lost.task.abort();
        }
    }
    Ok(())
}

async fn give_back(shared: &Arc<Shared>, partition: PartitionNo, owned: Owned) {
    if let Err(error) = owned.task.await {
        tracing::error!(%partition, %error, "an owner ended badly");
    }
    if let Err(error) = shared.ports.store.release(partition, &owned.lease).await {
        tracing::debug!(%partition, %error, "cannot give the lease back; it runs out by itself");
    }
}

/// How many partitions are this coordinator's part: an even division, the first ones in the order of their names take the rest.
fn share(partitions: u16, members: &[String], me: &str) -> usize {
    let place = members.iter().position(|m| m == me).unwrap_or(members.len());
    let count = members.len().max(1);
    let partitions = usize::from(partitions);
    partitions / count + usize::from(place < partitions % count)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up_to_all_partitions() {
        for count in 1..12usize {
            let members: Vec<String> = (0..count).map(|n| format!("c{n:02}")).collect();
            let total: usize = members.iter().map(|m| share(8, &members, m)).sum();
            assert_eq!(total, 8, "{count} members");
        }
    }

    #[test]
    fn one_that_is_not_listed_takes_no_rest() {
        let members = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(share(8, &members, "z"), 2);
    }
}
