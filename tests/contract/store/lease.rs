//! Leases, members and the number of partitions.

use stepmill_coordinator::port::store::{Cursor, Lease, Store};
use stepmill_protocol::PartitionNo;

use super::support::{LONG_MS, P, at, commit, is_stale, lease, until};

pub(crate) async fn one_owner_at_a_time(store: &dyn Store) {
    let a = lease(store).await;
    assert_eq!(a.owner, "a");
    assert_eq!(store.acquire(P, "b", LONG_MS, 0).await.unwrap(), None);
    let other = store.acquire(PartitionNo(4), "b", LONG_MS, 0).await.unwrap();
    assert_eq!(other.expect("another partition is free").owner, "b");
    store.release(P, &a).await.unwrap();
    let b = store.acquire(P, "b", LONG_MS, 0).await.unwrap().expect("it was given back");
    assert!(b.epoch > a.epoch, "{b:?} after {a:?}");
    assert_eq!(store.acquire(P, "a", LONG_MS, 0).await.unwrap(), None);
}

pub(crate) async fn an_epoch_is_never_used_twice(store: &dyn Store) {
    let first = lease(store).await;
    assert!(first.epoch >= 1);
    let again = lease(store).await;
    assert!(again.epoch > first.epoch, "taking one's own partition again raises the epoch");
    let raised = store.acquire(P, "a", LONG_MS, 1_000_000).await.unwrap().unwrap();
    assert!(raised.epoch >= 1_000_000);
    let next = store.acquire(P, "a", LONG_MS, 5).await.unwrap().unwrap();
    assert!(next.epoch > raised.epoch, "a lower minimum lowers nothing");
    assert_eq!(
        store.renew(&[(P, again)], LONG_MS).await.unwrap(),
        [false],
        "the earlier lease of the same owner is void"
    );
}

pub(crate) async fn an_expired_lease_can_be_taken(store: &dyn Store) {
    let a = store.acquire(P, "a", 50, 0).await.unwrap().unwrap();
    let mut b = None;
    until("an expired lease is free", async || {
        b = store.acquire(P, "b", LONG_MS, 0).await.unwrap();
        b.is_some()
    })
    .await;
    let b = b.unwrap();
    assert!(b.epoch > a.epoch);
    assert_eq!(store.renew(&[(P, a.clone())], LONG_MS).await.unwrap(), [false]);
    assert!(is_stale(&store.commit(commit(&a, &Cursor::default(), &at(1))).await));
    store.commit(commit(&b, &Cursor::default(), &at(1))).await.unwrap();
}

pub(crate) async fn a_renewed_lease_lasts(store: &dyn Store) {
    let (kept, left) = (P, PartitionNo(4));
    let a = store.acquire(kept, "a", 200, 0).await.unwrap().unwrap();
    assert_eq!(store.renew(&[(kept, a)], LONG_MS).await.unwrap(), [true]);
    store.acquire(left, "a", 200, 0).await.unwrap().unwrap();
    // When the one that was not renewed is free, the other would be too.
    until("the lease that was not renewed ends", async || {
        store.acquire(left, "b", LONG_MS, 0).await.unwrap().is_some()
    })
    .await;
    assert_eq!(store.acquire(kept, "b", LONG_MS, 0).await.unwrap(), None);
}

pub(crate) async fn renewal_tells_each_lease_apart(store: &dyn Store) {
    assert_eq!(store.renew(&[], LONG_MS).await.unwrap(), [false; 0]);
    let mut leases = Vec::new();
    for n in 0..20 {
        let p = PartitionNo(n);
        let lease = store.acquire(p, "a", LONG_MS, 0).await.unwrap().unwrap();
        leases.push((p, if n % 3 == 0 { Lease { epoch: lease.epoch + 1, ..lease } } else { lease }));
    }
    leases.push((PartitionNo(77), Lease { owner: "a".into(), epoch: 1 }));
    let held = store.renew(&leases, LONG_MS).await.unwrap();
    let expected: Vec<bool> = (0..20).map(|n| n % 3 != 0).chain([false]).collect();
    assert_eq!(held, expected);
}

pub(crate) async fn a_release_by_an_old_lease_does_nothing(store: &dyn Store) {
    let old = lease(store).await;
    let now = lease(store).await;
    store.release(P, &old).await.unwrap();
    store.release(P, &Lease { owner: "b".into(), epoch: now.epoch }).await.unwrap();
    assert_eq!(store.acquire(P, "b", LONG_MS, 0).await.unwrap(), None);
    assert_eq!(store.renew(&[(P, now)], LONG_MS).await.unwrap(), [true]);
}

pub(crate) async fn a_released_lease_writes_nothing(store: &dyn Store) {
    let a = lease(store).await;
    store.release(P, &a).await.unwrap();
    assert!(is_stale(&store.commit(commit(&a, &Cursor::default(), &at(1))).await));
    assert_eq!(store.renew(&[(P, a.clone())], LONG_MS).await.unwrap(), [false]);
    assert_eq!(store.cursor(P).await.unwrap(), None);
    assert!(lease(store).await.epoch > a.epoch);
}

pub(crate) async fn partitions_are_chosen_once(store: &dyn Store) {
    assert_eq!(store.partitions(8).await.unwrap(), 8);
    assert_eq!(store.partitions(16).await.unwrap(), 8);
    assert_eq!(store.partitions(8).await.unwrap(), 8);
}

pub(crate) async fn members_come_and_go(store: &dyn Store) {
    assert_eq!(store.beat("b", LONG_MS).await.unwrap(), ["b"]);
    assert_eq!(store.beat("c", LONG_MS).await.unwrap(), ["b", "c"]);
    assert_eq!(store.beat("a", LONG_MS).await.unwrap(), ["a", "b", "c"]);
    store.leave("b").await.unwrap();
    store.leave("nobody").await.unwrap();
    assert_eq!(store.beat("a", LONG_MS).await.unwrap(), ["a", "c"]);
    store.beat("short", 50).await.unwrap();
    until("one that does not beat is forgotten", async || store.beat("a", LONG_MS).await.unwrap() == ["a", "c"]).await;
}
