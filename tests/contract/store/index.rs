//! Lists and the runs that are live.

use stepmill_coordinator::port::store::{ListQuery, RunIndex, RunWrite, Store};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{RunId, Timestamp};

use super::support::{Owner, P, index, listed, listed_in, new_run, ns, query, run, wf, write};

pub(crate) async fn states_move_runs_between_lists(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    owner.write((1..=4).map(new_run).collect()).await;
    assert_eq!(listed_in(store, RunState::Running).await, [4, 3, 2, 1]);
    owner
        .write(vec![
            write(1, Some(RunState::Running), RunState::Completed),
            write(2, Some(RunState::Running), RunState::Parked),
            write(3, Some(RunState::Running), RunState::Running),
        ])
        .await;
    let other = RunWrite { index: RunIndex { workflow: wf("other"), ..index(1_005, RunState::Parked) }, ..new_run(5) };
    owner.write(vec![other]).await;
    assert_eq!(listed(store, &query()).await, [5, 4, 3, 2, 1]);
    for (state, all, of_workflow) in [
        (RunState::Running, vec![4, 3], vec![4, 3]),
        (RunState::Completed, vec![1], vec![1]),
        (RunState::Parked, vec![5, 2], vec![2]),
        (RunState::Faulted, vec![], vec![]),
        (RunState::Cancelled, vec![], vec![]),
    ] {
        assert_eq!(listed_in(store, state).await, all, "{state:?}");
        let query = ListQuery { state: Some(state), workflow: Some(wf("w")), ..query() };
        assert_eq!(listed(store, &query).await, of_workflow, "{state:?}");
    }
    owner.write(vec![write(2, Some(RunState::Parked), RunState::Running)]).await;
    owner.write(vec![write(1, Some(RunState::Completed), RunState::Running)]).await;
    assert_eq!(listed_in(store, RunState::Running).await, [4, 3, 2, 1]);
    assert_eq!(listed_in(store, RunState::Completed).await, [0; 0]);
}

/// A run whose bytes lie high, so that an order by signed or by text comparison would show.
const HIGH: u128 = u128::MAX - 0xff;

pub(crate) async fn equal_times_are_ordered_by_id(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let ids = [3, 0x7f, 0x80, 0xff, 0x100, 1 << 100, 0x41 << 120, 0x61 << 120, 0x5f << 120, HIGH];
    let mut expected = ids.to_vec();
    expected.sort_unstable();
    expected.reverse();
    let at_once = |n: u128| RunWrite { index: index(5_000, RunState::Running), ..new_run(n) };
    owner.write(ids.into_iter().map(at_once).collect()).await;
    assert_eq!(listed(store, &query()).await, expected);
    for (i, n) in expected.iter().enumerate() {
        let after = ListQuery { after: Some((Timestamp(5_000), run(*n))), ..query() };
        assert_eq!(listed(store, &after).await, expected[i + 1..]);
        // Also where no such run is listed.
        let before_it = ListQuery { after: Some((Timestamp(5_000), run(n + 1))), ..query() };
        assert_eq!(listed(store, &before_it).await, expected[i..], "after {n:x} + 1");
    }
}

pub(crate) async fn pages_are_stable_while_runs_change(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    // Three runs per millisecond.
    let made = |n: u128| RunWrite { index: index(1_000 + (n / 3) as u64, RunState::Running), ..new_run(n) };
    owner.write((1..=90).map(made).collect()).await;
    let changed = |n: u128| RunWrite {
        state_before: Some(RunState::Running),
        index: RunIndex { state: RunState::Completed, ..made(n).index },
        ..made(n)
    };
    let (mut all, mut running) = (Vec::new(), Vec::new());
    let mut of_all = ListQuery { limit: 7, ..query() };
    let mut of_running = ListQuery { state: Some(RunState::Running), ..of_all.clone() };
    let mut newest = 1_000u128;
    while of_all.after.is_none() || of_running.after.is_none() || all.len() < 90 {
        for (query, seen) in [(&mut of_all, &mut all), (&mut of_running, &mut running)] {
            let page = store.list(P, query).await.unwrap();
            assert!(page.len() <= 7);
            query.after = page.last().copied().or(query.after);
            seen.extend(page.into_iter().map(|(_, run)| run.0.as_u128()));
        }
        // The entry that the next page begins after leaves its list, and a newer run comes.
        newest += 1;
        let mut changes = vec![made(newest)];
        let last = running.last().copied().filter(|n| *n <= 90);
        changes.extend(last.filter(|n| running.iter().filter(|m| m == &n).count() == 1).map(changed));
        owner.write(changes).await;
        if let Some(gone) = last {
            running.retain(|n| *n != gone);
            running.push(gone);
        }
        assert!(newest < 1_100, "paging does not end");
    }
    let expected: Vec<u128> = (1..=90).rev().collect();
    assert_eq!(all, expected, "each run once, none that came later");
    running.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(running, expected);
}

pub(crate) async fn live_runs_are_paged_in_order(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let mut ids: Vec<u128> = (1..=40u128).map(|n| n * 0x0123_4567_89ab_cdef_fedc_ba98_7654_3211).collect();
    ids.push(HIGH);
    owner.write(ids.iter().map(|n| write(*n, None, RunState::Running)).collect()).await;
    let (parked, ended) = (ids[3], ids[5]);
    owner
        .write(vec![
            write(parked, Some(RunState::Running), RunState::Parked),
            write(ended, Some(RunState::Running), RunState::Cancelled),
            write(7, None, RunState::Completed),
        ])
        .await;
    ids.retain(|n| *n != ended);
    ids.sort_unstable();
    let mut seen: Vec<RunId> = Vec::new();
    loop {
        let page = store.live_runs(P, seen.last().copied(), 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, ids.iter().map(|n| run(*n)).collect::<Vec<_>>());
    let after_none_stored = store.live_runs(P, Some(run(ids[0] + 1)), 2).await.unwrap();
    assert_eq!(after_none_stored, [run(ids[1]), run(ids[2])]);
    assert_eq!(store.live_runs(P, Some(run(u128::MAX)), 7).await.unwrap(), []);
    owner
        .write(vec![
            write(parked, Some(RunState::Parked), RunState::Faulted),
            write(7, Some(RunState::Completed), RunState::Running),
        ])
        .await;
    let live = store.live_runs(P, None, 1_000).await.unwrap();
    assert!(!live.contains(&run(parked)) && live.contains(&run(7)));
}

pub(crate) async fn namespaces_are_apart(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let of = |n: u128, namespace: &str| RunWrite {
        index: RunIndex { namespace: ns(namespace), ..new_run(n).index },
        ..new_run(n)
    };
    owner.write(vec![of(1, "n"), of(2, "n-2"), of(3, "n_"), of(4, "n")]).await;
    assert_eq!(listed(store, &query()).await, [4, 1]);
    assert_eq!(listed(store, &ListQuery { namespace: ns("n-2"), ..query() }).await, [2]);
    assert_eq!(listed(store, &ListQuery { namespace: ns("none"), ..query() }).await, [0; 0]);
    assert_eq!(listed(store, &ListQuery { workflow: Some(wf("none")), ..query() }).await, [0; 0]);
    assert_eq!(listed(store, &ListQuery { limit: 0, ..query() }).await, [0; 0]);
}
