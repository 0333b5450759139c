//! What a commit writes: cursor, runs and values, open dispatches, timers; notes beside it; and emptying a partition.

use stepmill_coordinator::port::store::{Cursor, Store, StoredRun, Suspicion, ToldKey};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{PartitionNo, TimerId, Timestamp, ValueId};

use super::support::{
    LONG_MS, Owner, P, Picture, at, command, entry, is_stale, lease, listed, load_one, new_run, picture, query, run,
    sorted, value, write,
};

pub(crate) async fn the_cursor_is_what_was_committed(store: &dyn Store) {
    assert_eq!(store.cursor(P).await.unwrap(), None);
    let mut owner = Owner::new(store).await;
    assert_eq!(store.cursor(P).await.unwrap(), None, "a lease alone is no cursor");
    let far = Cursor { incarnation: 7, seq: u64::MAX, at: Timestamp(u64::MAX), log: "log ü {}".into() };
    owner.commit(|c| c.to = far.clone()).await;
    assert_eq!(store.cursor(P).await.unwrap(), Some(far));
    owner.commit(|c| c.to = Cursor { incarnation: 8, ..Cursor::default() }).await;
    assert_eq!(store.cursor(P).await.unwrap(), Some(Cursor { incarnation: 8, ..Cursor::default() }));
}

pub(crate) async fn a_commit_writes_several_runs_at_once(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    assert!(store.load(P, &[]).await.unwrap().is_empty());
    owner.write(vec![new_run(1), new_run(2)]).await;
    let mut third = new_run(3);
    third.values_put = vec![value(1, "x")];
    owner.write(vec![third, write(1, Some(RunState::Running), RunState::Running)]).await;
    let loaded = store.load(P, &[run(3), run(9), run(1), run(2), run(1)]).await.unwrap();
    let controls: Vec<Option<&[u8]>> = loaded.iter().map(|r| r.as_ref().map(|r| r.control.as_slice())).collect();
    let expected: [Option<&[u8]>; 5] =
        [Some(b"control 3"), None, Some(b"control 1"), Some(b"control 2"), Some(b"control 1")];
    assert_eq!(controls, expected);
    assert_eq!(loaded[0].as_ref().unwrap().values, [value(1, "x")]);
}

pub(crate) async fn values_are_put_dropped_and_cleared(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let step = |change: &dyn Fn(&mut stepmill_coordinator::port::store::RunWrite)| {
        let mut next = write(1, Some(RunState::Running), RunState::Running);
        change(&mut next);
        vec![next]
    };
    let mut first = new_run(1);
    first.values_put = vec![value(1, "one"), value(2, "two"), value(u64::MAX, ""), value(10, "ten")];
    owner.write(vec![first]).await;
    owner.write(step(&|w| w.values_put = vec![value(2, "two again"), value(3, "three")])).await;
    owner.write(step(&|w| w.values_drop = vec![ValueId(1), ValueId(99)])).await;
    let expected = [value(2, "two again"), value(3, "three"), value(10, "ten"), value(u64::MAX, "")];
    assert_eq!(sorted(load_one(store, 1).await.unwrap()).values, expected);
    for (id, expected) in [(2, Some(b"two again".to_vec())), (u64::MAX, Some(Vec::new())), (1, None)] {
        assert_eq!(store.load_value(P, run(1), ValueId(id)).await.unwrap(), expected, "{id}");
    }
    assert_eq!(store.load_value(P, run(2), ValueId(1)).await.unwrap(), None);
    owner
        .write(step(&|w| {
            w.values_clear = true;
            w.values_put = vec![value(5, "five")];
        }))
        .await;
    assert_eq!(load_one(store, 1).await.unwrap().values, [value(5, "five")]);
    owner.write(step(&|w| w.values_clear = true)).await;
    assert_eq!(load_one(store, 1).await.unwrap().values, []);
}

pub(crate) async fn any_bytes_are_kept(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let mut bytes: Vec<u8> = (0..=255u8).rev().collect();
    bytes.extend(b"\r\n$3\r\n*1\r\n\0\0");
    let large: Vec<u8> = (0..700_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut first = new_run(1);
    first.control.clone_from(&bytes);
    first.values_put = vec![(ValueId(1), bytes.clone()), (ValueId(2), large.clone())];
    let mut empty = new_run(2);
    empty.control = Vec::new();
    owner.write(vec![first, empty]).await;
    let expected = StoredRun { control: bytes.clone(), values: vec![(ValueId(1), bytes), (ValueId(2), large)] };
    assert_eq!(load_one(store, 1).await.map(sorted), Some(expected));
    assert_eq!(load_one(store, 2).await, Some(StoredRun { control: Vec::new(), values: Vec::new() }));
}

pub(crate) async fn partitions_do_not_see_each_other(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write(vec![new_run(1)]).await;
    let other = PartitionNo(30);
    assert_eq!(store.cursor(other).await.unwrap(), None);
    assert_eq!(store.load(other, &[run(1)]).await.unwrap(), [None]);
    assert_eq!(store.list(other, &query()).await.unwrap(), []);
    let lease = store.acquire(other, "b", LONG_MS, 0).await.unwrap().unwrap();
    let mut commit = super::support::commit(&lease, &Cursor::default(), &at(9));
    commit.partition = other;
    let mut same = new_run(1);
    same.control = b"elsewhere".to_vec();
    commit.runs = vec![same];
    store.commit(commit).await.unwrap();
    assert_eq!(load_one(store, 1).await.unwrap().control, b"control 1");
    store.clear(other, &lease).await.unwrap();
    assert_eq!(picture(store, 1).await.cursor, Some(at(1)));
    assert_eq!(listed(store, &query()).await, [1]);
}

pub(crate) async fn outbox_entries_are_overwritten_and_dropped(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let [one, two, three] = [command(1, 1), command(1, 2), command(2, 1)];
    owner.commit(|c| c.outbox_put = vec![entry(one, None), entry(two, None), entry(three, None)]).await;
    owner
        .commit(|c| {
            c.outbox_put = vec![entry(two, Some(u64::MAX))];
            c.outbox_drop = vec![one, command(5, 5)];
        })
        .await;
    assert_eq!(picture(store, 0).await.outbox, [entry(two, Some(u64::MAX)), entry(three, None)]);
    owner.commit(|c| c.outbox_put = vec![entry(two, None)]).await;
    assert_eq!(picture(store, 0).await.outbox, [entry(two, None), entry(three, None)]);
    owner.commit(|c| c.outbox_drop = vec![two, three]).await;
    assert_eq!(store.outbox(P).await.unwrap(), []);
}

pub(crate) async fn timers_are_armed_moved_and_disarmed(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let armed = [
        (run(1), TimerId(1), Timestamp(u64::MAX)),
        (run(1), TimerId(2), Timestamp(5)),
        (run(2), TimerId(1), Timestamp(5)),
    ];
    owner.commit(|c| c.timers_put = armed.to_vec()).await;
    assert_eq!(picture(store, 0).await.timers, armed);
    owner
        .commit(|c| {
            c.timers_put = vec![(run(1), TimerId(2), Timestamp(6))];
            c.timers_drop = vec![(run(1), TimerId(1)), (run(9), TimerId(9))];
        })
        .await;
    let expected = [(run(1), TimerId(2), Timestamp(6)), (run(2), TimerId(1), Timestamp(5))];
    assert_eq!(picture(store, 0).await.timers, expected);
}

/// What is to be told comes back in the order of the batches, until it is dropped.
pub(crate) async fn what_is_to_be_told_is_kept_in_order(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let key = |incarnation, seq| ToldKey { incarnation, seq };
    let batches = [(key(0, 9), vec![0, 255]), (key(0, 10), Vec::new()), (key(1, 2), b"{}".to_vec())];
    for batch in batches.iter().rev() {
        owner.commit(|c| c.told_put = Some(batch.clone())).await;
    }
    assert_eq!(store.told(P).await.unwrap(), batches);
    owner.commit(|c| c.told_drop = vec![key(0, 9), key(1, 2), key(7, 7)]).await;
    assert_eq!(store.told(P).await.unwrap(), batches[1..2]);
    store.clear(P, &owner.lease).await.unwrap();
    assert_eq!(store.told(P).await.unwrap(), []);
}

/// Ids are never used again, so what one batch puts and drops was put first.
pub(crate) async fn what_is_put_and_dropped_at_once_is_gone(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner
        .commit(|c| {
            let mut first = new_run(1);
            first.values_put = vec![value(1, "one"), value(2, "two")];
            first.values_drop = vec![ValueId(1)];
            c.runs = vec![first];
            c.outbox_put = vec![entry(command(1, 1), None)];
            c.outbox_drop = vec![command(1, 1)];
            c.timers_put = vec![(run(1), TimerId(1), Timestamp(1))];
            c.timers_drop = vec![(run(1), TimerId(1))];
        })
        .await;
    let stored = picture(store, 1).await;
    assert_eq!(stored.runs[0].as_ref().unwrap().values, [value(2, "two")]);
    assert_eq!((stored.outbox, stored.timers), (Vec::new(), Vec::new()));
}

pub(crate) async fn notes_are_kept_until_removed(store: &dyn Store) {
    assert_eq!(store.suspicion(P).await.unwrap(), None);
    let mut owner = Owner::new(store).await;
    for single in [None, Some(u64::MAX)] {
        let note = Suspicion { cursor: 12, tries: 2, single };
        store.note_suspicion(P, &owner.lease, Some(&note)).await.unwrap();
        assert_eq!(store.suspicion(P).await.unwrap(), Some(note));
    }
    owner.write(vec![new_run(1)]).await;
    assert!(store.suspicion(P).await.unwrap().is_some(), "a commit leaves the note alone");
    let next = lease(store).await;
    assert!(store.suspicion(P).await.unwrap().is_some(), "it is there for the next owner");
    store.note_suspicion(P, &next, None).await.unwrap();
    store.note_suspicion(P, &next, None).await.unwrap();
    assert_eq!(store.suspicion(P).await.unwrap(), None);
}

pub(crate) async fn five_thousand_runs_in_one_commit(store: &dyn Store) {
    const MANY: u128 = 5_000;
    let mut owner = Owner::new(store).await;
    let mut wide = new_run(MANY + 1);
    wide.values_put = (1..=10_000).map(|id| value(id, "v")).collect();
    owner
        .commit(|c| {
            c.runs = (1..=MANY).map(new_run).collect();
            c.runs.push(wide);
            c.outbox_put = (1..=MANY).map(|n| entry(command(n, 1), None)).collect();
            c.timers_put = (1..=MANY).map(|n| (run(n), TimerId(1), Timestamp(1))).collect();
        })
        .await;
    let stored = picture(store, MANY + 1).await;
    assert!(stored.runs.iter().all(Option::is_some));
    assert_eq!(stored.runs.last().unwrap().as_ref().unwrap().values.len(), 10_000);
    assert_eq!((stored.outbox.len(), stored.timers.len(), stored.live.len()), (5_000, 5_000, 5_001));
    owner
        .commit(|c| {
            c.runs = (1..=MANY).map(|n| write(n, Some(RunState::Running), RunState::Completed)).collect();
            c.outbox_drop = (1..=MANY).map(|n| command(n, 1)).collect();
            c.timers_drop = (1..=MANY).map(|n| (run(n), TimerId(1))).collect();
        })
        .await;
    let stored = picture(store, 0).await;
    assert_eq!((stored.outbox.len(), stored.timers.len(), stored.live.len()), (0, 0, 1));
}

pub(crate) async fn clearing_empties_the_partition(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let empty = picture(store, 600).await;
    owner
        .commit(|c| {
            c.runs = (1..=600).map(new_run).collect();
            c.runs[0].values_put = vec![value(1, "one")];
            c.runs[1] = write(2, None, RunState::Faulted);
            c.runs[1].expire_ms = Some(LONG_MS);
            c.outbox_put = vec![entry(command(1, 1), None)];
            c.timers_put = vec![(run(1), TimerId(1), Timestamp(1))];
        })
        .await;
    store.clear(P, &owner.lease).await.unwrap();
    assert_eq!(picture(store, 600).await, empty);
    assert_eq!(store.load_value(P, run(1), ValueId(1)).await.unwrap(), None);
    // The lease is still held, and the partition is folded again from the beginning.
    assert_eq!(store.renew(&[(P, owner.lease.clone())], LONG_MS).await.unwrap(), [true]);
    owner.cursor = Cursor::default();
    owner.write(vec![new_run(1)]).await;
    let Picture { live, runs, .. } = picture(store, 1).await;
    assert_eq!((live, runs[0].as_ref().map(|r| r.values.len())), (vec![run(1)], Some(0)));
    assert!(lease(store).await.epoch > owner.lease.epoch, "epochs go on");
}

pub(crate) async fn clearing_needs_the_lease(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write(vec![new_run(1)]).await;
    let before = picture(store, 1).await;
    let new = lease(store).await;
    assert!(is_stale(&store.clear(P, &owner.lease).await));
    assert_eq!(picture(store, 1).await, before);
    store.clear(P, &new).await.unwrap();
    assert_eq!(store.cursor(P).await.unwrap(), None);
}
