//! Which partitions this coordinator owns. Coordinators share them evenly: each takes up to its share of what is free and gives back what
//! is above it. A lease that is not renewed is free after its time; correctness does not rest on it, the store refuses stale owners.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmill_protocol::PartitionNo;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::partition;
use crate::port::store::{Lease, StoreError};
use crate::shared::Shared;

struct Owned {
    lease: Lease,
    stop: CancellationToken,
    /// Ends the owner when this coordinator is dropped without draining.
    task: AbortOnDropHandle<()>,
}

/// Leases that are being given back, beside the beat: an owner may take a while to end.
type Leaving = JoinSet<()>;

/// Keeps leases until `stop`; then lets each owner finish its batch and gives everything back.
pub(crate) async fn keep(shared: Arc<Shared>, stop: CancellationToken, ready: tokio::sync::watch::Sender<usize>) {
    let mut owned = BTreeMap::new();
    let mut leaving = Leaving::new();
    loop {
        shared.vitals.beats();
        if let Err(error) = beat(&shared, &mut owned, &mut leaving, &stop).await {
            tracing::warn!(%error, "leases cannot be kept; trying again");
        }
        ready.send_replace(owned.len());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(shared.config.lease_beat) => {}
        }
    }
    let store = shared.ports.store.clone();
    for (partition, owned) in owned {
        leaving.spawn(give_back(shared.clone(), partition, owned));
    }
    while leaving.join_next().await.is_some() {}
    ready.send_replace(0);
    if let Err(error) = store.leave(&shared.config.name).await {
        tracing::debug!(%error, "cannot say goodbye; the others notice by themselves");
    }
}

fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

async fn beat(
    shared: &Arc<Shared>,
    owned: &mut BTreeMap<PartitionNo, Owned>,
    leaving: &mut Leaving,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    while leaving.try_join_next().is_some() {}
    let (store, name) = (&shared.ports.store, shared.config.name.as_str());
    let ttl = millis(shared.config.lease_ttl);
    let members = store.beat(name, ttl).await?;
    shared.vitals.kept(members.len());
    // Said again with each beat: a store that was emptied must not let the next coordinator choose another number.
    let stored = store.partitions(shared.partitions).await?;
    if stored != shared.partitions {
        tracing::error!(
            stored,
            here = shared.partitions,
            "the store has another number of partitions; stop one of the installations"
        );
        return Ok(());
    }
    let dead: Vec<PartitionNo> = owned.iter().filter(|(_, o)| o.task.is_finished()).map(|(p, _)| *p).collect();
    for partition in dead {
        tracing::error!(%partition, "an owner ended by itself; its partition is taken up again");
        if let Some(dead) = owned.remove(&partition) {
            leaving.spawn(give_back(shared.clone(), partition, dead));
        }
    }
    renew(shared, owned, ttl).await?;
    let share = share(shared.partitions, &members, name);
    while owned.len() > share {
        let Some((partition, surplus)) = owned.pop_last() else { break };
        leaving.spawn(give_back(shared.clone(), partition, surplus));
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
            shared.measures.taken_up();
            let stop = stop.child_token();
            let task = tokio::spawn(partition::own(shared.clone(), partition, lease.clone(), stop.clone()));
            owned.insert(partition, Owned { lease, stop, task: AbortOnDropHandle::new(task) });
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
            lost.task.abort();
        }
    }
    Ok(())
}

/// Stops an owner, and when it has ended gives the lease back. Until then the lease is not renewed: should the owner take longer than
/// it lasts, another one may begin, and the store refuses what this one still tries.
async fn give_back(shared: Arc<Shared>, partition: PartitionNo, owned: Owned) {
    owned.stop.cancel();
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
