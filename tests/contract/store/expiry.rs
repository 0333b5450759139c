//! Ended runs leave by themselves, and their index entries when they are trimmed.

use stepmill_coordinator::port::store::{ListQuery, RunIndex, RunWrite, Store};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{Millis, Timestamp, ValueId};

use super::support::{LONG_MS, Owner, P, listed, listed_in, load_one, new_run, query, run, until, value, wf, write};

fn ended(n: u128, expire_ms: u64) -> RunWrite {
    RunWrite { expire_ms: Some(expire_ms), ..write(n, Some(RunState::Running), RunState::Completed) }
}

/// Trims until nothing is left to trim; how many went.
async fn trimmed(store: &dyn Store, limit: usize) -> usize {
    let mut gone = 0;
    loop {
        match store.trim_indexes(P, limit).await.unwrap() {
            0 => return gone,
            n => gone += n,
        }
    }
}

pub(crate) async fn ended_runs_leave_and_are_trimmed(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let with_value = |n: u128| RunWrite { values_put: vec![value(1, "one")], ..new_run(n) };
    owner.write((1..=6).map(with_value).collect()).await;
    assert_eq!(store.trim_indexes(P, 100).await.unwrap(), 0);
    let faulted = RunWrite { expire_ms: Some(30), ..write(2, Some(RunState::Running), RunState::Faulted) };
    owner
        .write(vec![ended(1, 30), faulted, ended(3, LONG_MS), write(4, Some(RunState::Running), RunState::Completed)])
        .await;
    for n in [1, 2] {
        until("an ended run leaves", async || load_one(store, n).await.is_none()).await;
        until("its values leave", async || store.load_value(P, run(n), ValueId(1)).await.unwrap().is_none()).await;
    }
    assert_eq!(trimmed(store, 100).await, 2);
    assert_eq!(listed(store, &query()).await, [6, 5, 4, 3], "neither live runs nor kept ones are trimmed");
    assert_eq!(listed(store, &ListQuery { workflow: Some(wf("w")), ..query() }).await, [6, 5, 4, 3]);
    assert_eq!(listed_in(store, RunState::Faulted).await, [0; 0]);
    let completed = ListQuery { workflow: Some(wf("w")), state: Some(RunState::Completed), ..query() };
    assert_eq!(listed(store, &completed).await, [4, 3]);
    for n in [3, 4, 5] {
        assert_eq!(load_one(store, n).await.unwrap().values, [value(1, "one")], "{n}");
    }
}

pub(crate) async fn a_long_retention_does_not_hold_up_trimming(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write((1..=30).map(new_run).collect()).await;
    // The oldest ones stay longest. The others ended later by the log's clock, which stood while the log was read again.
    owner.write((1..=20).map(|n| ended(n, LONG_MS)).collect()).await;
    owner
        .commit(|c| {
            c.to.at = c.to.at.plus(Millis(2 * LONG_MS));
            c.runs = (21..=30).map(|n| ended(n, 30)).collect();
        })
        .await;
    for n in 21..=30 {
        until("an ended run leaves", async || load_one(store, n).await.is_none()).await;
    }
    assert_eq!(store.trim_indexes(P, 0).await.unwrap(), 0);
    until("all of them are trimmed", async || {
        assert!(store.trim_indexes(P, 5).await.unwrap() <= 5);
        listed(store, &query()).await.len() == 20
    })
    .await;
    assert_eq!(listed(store, &query()).await, (1..=20).rev().collect::<Vec<u128>>());
}

pub(crate) async fn a_run_that_goes_on_does_not_expire(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write(vec![RunWrite { values_put: vec![value(1, "one")], ..new_run(1) }, new_run(2), new_run(3)]).await;
    owner.write(vec![ended(1, 2_000), ended(2, 50), ended(3, 2_000)]).await;
    // Somebody runs the first again before it leaves, and the third is to be kept for ever.
    owner
        .write(vec![
            write(1, Some(RunState::Completed), RunState::Running),
            write(3, Some(RunState::Completed), RunState::Completed),
        ])
        .await;
    owner.write(vec![new_run(4)]).await;
    owner.write(vec![ended(4, 2_100)]).await;
    until("what expires later is gone", async || {
        store.trim_indexes(P, 100).await.unwrap();
        load_one(store, 4).await.is_none()
    })
    .await;
    trimmed(store, 100).await;
    assert_eq!(load_one(store, 1).await.unwrap().values, [value(1, "one")]);
    assert!(load_one(store, 3).await.is_some());
    assert_eq!(listed(store, &query()).await, [3, 1]);
    assert_eq!(listed_in(store, RunState::Running).await, [1]);
    assert_eq!(store.live_runs(P, None, 10).await.unwrap(), [run(1)]);
}

pub(crate) async fn a_run_that_ends_twice_is_trimmed_once(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write(vec![new_run(1)]).await;
    owner.write(vec![ended(1, LONG_MS)]).await;
    let otherwise = write(1, Some(RunState::Completed), RunState::Faulted);
    owner.write(vec![RunWrite { expire_ms: Some(30), ..otherwise }]).await;
    until("it leaves", async || load_one(store, 1).await.is_none()).await;
    assert_eq!(trimmed(store, 100).await, 1);
    assert_eq!(listed(store, &query()).await, [0; 0]);
}

/// A submission with the same idempotency key after the retention makes the same id again.
pub(crate) async fn an_expired_run_can_begin_anew(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write(vec![new_run(1)]).await;
    owner.write(vec![ended(1, 30)]).await;
    until("it leaves", async || load_one(store, 1).await.is_none()).await;
    let again = RunWrite { index: RunIndex { submitted_at: Timestamp(9_000), ..new_run(1).index }, ..new_run(1) };
    owner.write(vec![again]).await;
    assert_eq!(listed_in(store, RunState::Completed).await, [0; 0]);
    assert_eq!(trimmed(store, 100).await, 0);
    let rows = store.list(P, &query()).await.unwrap();
    assert_eq!(rows, [(Timestamp(9_000), run(1))]);
    assert_eq!(listed_in(store, RunState::Running).await, [1]);
    assert_eq!(store.live_runs(P, None, 10).await.unwrap(), [run(1)]);
}
