//! What the store refuses: whoever does not hold the lease, and whoever believes in another cursor.

use futures::future::join_all;
use stepmill_coordinator::port::store::{Cursor, Lease, Store, Suspicion};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{TimerId, Timestamp, ValueId};

use super::support::{
    LONG_MS, Owner, P, at, command, commit, entry, is_stale, lease, new_run, picture, run, value, write,
};

/// A partition with something of everything.
async fn furnished(store: &dyn Store) -> Owner<'_> {
    let mut owner = Owner::new(store).await;
    owner
        .commit(|c| {
            let mut first = new_run(1);
            first.values_put = vec![value(1, "one"), value(2, "two")];
            c.runs = vec![first, new_run(2)];
            c.outbox_put = vec![entry(command(1, 1), None)];
            c.timers_put = vec![(run(1), TimerId(1), Timestamp(5))];
        })
        .await;
    owner
}

/// A commit that would change all of it.
fn upheaval(owner: &Owner<'_>) -> stepmill_coordinator::port::store::Commit {
    let mut commit = owner.next();
    let mut first = write(1, Some(RunState::Running), RunState::Completed);
    first.values_put = vec![value(1, "other")];
    first.values_drop = vec![ValueId(2)];
    first.expire_ms = Some(LONG_MS);
    let mut second = write(2, Some(RunState::Running), RunState::Parked);
    second.values_clear = true;
    commit.runs = vec![first, second, new_run(3)];
    commit.outbox_put = vec![entry(command(2, 1), Some(7))];
    commit.outbox_drop = vec![command(1, 1)];
    commit.timers_put = vec![(run(2), TimerId(1), Timestamp(9))];
    commit.timers_drop = vec![(run(1), TimerId(1))];
    commit
}

pub(crate) async fn a_wrong_lease_writes_nothing(store: &dyn Store) {
    let owner = furnished(store).await;
    let before = picture(store, 3).await;
    let Lease { owner: name, epoch } = owner.lease.clone();
    for wrong in [
        Lease { owner: "b".into(), epoch },
        Lease { owner: name.clone(), epoch: epoch + 1 },
        Lease { owner: name.clone(), epoch: epoch - 1 },
        Lease { owner: String::new(), epoch },
    ] {
        let mut commit = upheaval(&owner);
        commit.lease = wrong.clone();
        assert!(is_stale(&store.commit(commit).await), "{wrong:?}");
        assert_eq!(picture(store, 3).await, before, "{wrong:?}");
    }
    // The same owner after another acquisition.
    let raised = lease(store).await;
    assert!(is_stale(&store.commit(upheaval(&owner)).await));
    assert_eq!(picture(store, 3).await, before);
    let mut commit = upheaval(&owner);
    commit.lease = raised;
    store.commit(commit).await.unwrap();
    assert_ne!(picture(store, 3).await, before, "the right one does write");
}

pub(crate) async fn a_wrong_cursor_writes_nothing(store: &dyn Store) {
    let owner = furnished(store).await;
    let before = picture(store, 3).await;
    let here = owner.cursor.clone();
    for wrong in [
        Cursor::default(),
        Cursor { seq: here.seq - 1, ..here.clone() },
        Cursor { seq: here.seq + 1, ..here.clone() },
        Cursor { incarnation: here.incarnation + 1, ..here.clone() },
        Cursor { incarnation: here.incarnation - 1, ..here.clone() },
    ] {
        let mut commit = upheaval(&owner);
        commit.from = wrong.clone();
        assert!(is_stale(&store.commit(commit).await), "{wrong:?}");
        assert_eq!(picture(store, 3).await, before, "{wrong:?}");
    }
    // Only incarnation and sequence are compared.
    let mut commit = upheaval(&owner);
    commit.from = Cursor { at: Timestamp(1), log: "another".into(), ..here };
    store.commit(commit).await.unwrap();
}

pub(crate) async fn a_store_without_lease_takes_nothing(store: &dyn Store) {
    for epoch in [0, 1] {
        let nobody = Lease { owner: "a".into(), epoch };
        let mut commit = commit(&nobody, &Cursor::default(), &at(1));
        commit.runs = vec![new_run(1)];
        assert!(is_stale(&store.commit(commit).await));
    }
    assert_eq!(store.cursor(P).await.unwrap(), None);
    assert_eq!(store.load(P, &[run(1)]).await.unwrap(), [None]);
}

pub(crate) async fn of_two_commits_from_one_cursor_one_wins(store: &dyn Store) {
    let owner = Owner::new(store).await;
    let rivals = (1..=20u128).map(|n| {
        let mut commit = owner.next();
        commit.runs = vec![new_run(n)];
        store.commit(commit)
    });
    let results = join_all(rivals).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|r| is_stale(r)).count(), 19);
    let stored = picture(store, 20).await;
    assert_eq!(stored.runs.iter().flatten().count(), 1);
    assert_eq!((stored.live.len(), stored.cursor), (1, Some(at(1))));
}

pub(crate) async fn notes_need_the_lease(store: &dyn Store) {
    let note = Suspicion { cursor: 4, tries: 1, single: None };
    let nobody = Lease { owner: "a".into(), epoch: 1 };
    assert!(is_stale(&store.note_suspicion(P, &nobody, Some(&note)).await));
    let old = lease(store).await;
    let new = lease(store).await;
    store.note_suspicion(P, &new, Some(&note)).await.unwrap();
    assert!(is_stale(&store.note_suspicion(P, &old, None).await));
    assert_eq!(store.suspicion(P).await.unwrap(), Some(note));
}
