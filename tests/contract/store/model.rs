//! Lists held against a model: a plain vector that is filtered and sorted.

use stepmill_coordinator::port::store::{ListQuery, RunIndex, RunWrite, Store};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{RunId, Timestamp};

use super::support::{Owner, P, new_run, ns, run, wf};

/// Numbers that look random and are the same in every round.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.roll(2) == 0).then(|| make(self))
    }
}

const NAMES: [&str; 2] = ["x", "y"];
const RUNS: usize = 150;
/// Few, so that many runs are submitted in the same millisecond.
const TIMES: usize = 20;

fn answer(model: &[(RunId, RunIndex)], q: &ListQuery) -> Vec<(Timestamp, RunId)> {
    let mut rows: Vec<(Timestamp, RunId)> = model
        .iter()
        .filter(|(_, i)| i.namespace == q.namespace)
        .filter(|(_, i)| q.workflow.as_ref().is_none_or(|w| *w == i.workflow))
        .filter(|(_, i)| q.state.is_none_or(|s| s == i.state))
        .map(|(run, i)| (i.submitted_at, *run))
        .filter(|(at, _)| q.from.is_none_or(|from| *at >= from) && q.to.is_none_or(|to| *at < to))
        .filter(|row| q.after.is_none_or(|after| *row < after))
        .collect();
    rows.sort_unstable_by(|a, b| b.cmp(a));
    rows.truncate(q.limit);
    rows
}

pub(crate) async fn lists_agree_with_a_model(store: &dyn Store) {
    let mut owner = Owner::new(store).await;
    let mut dice = Dice(7);
    let id = |n: usize| run((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let mut model: Vec<(RunId, RunIndex)> = (0..RUNS)
        .map(|n| {
            let index = RunIndex {
                namespace: ns(NAMES[dice.roll(2)]),
                workflow: wf(NAMES[dice.roll(2)]),
                state: RunState::ALL[dice.roll(5)],
                submitted_at: Timestamp(dice.roll(TIMES) as u64),
            };
            (id(n), index)
        })
        .collect();
    let write = |run: RunId, index: &RunIndex, before| RunWrite {
        run,
        index: index.clone(),
        state_before: before,
        ..new_run(1)
    };
    owner.write(model.iter().map(|(run, index)| write(*run, index, None)).collect()).await;
    for round in 0..300 {
        let (run, index) = &mut model[dice.roll(RUNS)];
        let before = std::mem::replace(&mut index.state, RunState::ALL[dice.roll(5)]);
        owner.write(vec![write(*run, index, Some(before))]).await;
        let query = ListQuery {
            namespace: ns(NAMES[dice.roll(2)]),
            workflow: dice.maybe(|d| wf(NAMES[d.roll(2)])),
            state: dice.maybe(|d| RunState::ALL[d.roll(5)]),
            from: dice.maybe(|d| Timestamp(d.roll(TIMES + 1) as u64)),
            to: dice.maybe(|d| Timestamp(d.roll(TIMES + 1) as u64)),
            after: dice.maybe(|d| (Timestamp(d.roll(TIMES + 1) as u64), id(d.roll(RUNS)))),
            limit: [1, 3, 10, RUNS][dice.roll(4)],
        };
        assert_eq!(store.list(P, &query).await.unwrap(), answer(&model, &query), "round {round}: {query:?}");
    }
    let mut live: Vec<RunId> = model.iter().filter(|(_, i)| !i.state.is_final()).map(|(run, _)| *run).collect();
    live.sort_unstable();
    assert_eq!(store.live_runs(P, None, RUNS).await.unwrap(), live);
}
