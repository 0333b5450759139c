//! What the cases are written with: short ways to say a commit, and a picture of everything that a partition holds.

use std::time::{Duration, Instant};

use stepmill_coordinator::port::store::{
    Commit, Cursor, Lease, ListQuery, OutboxEntry, Published, RunIndex, RunWrite, Store, StoreError, StoredRun,
    Suspicion,
};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{
    CommandId, Namespace, PartitionNo, Pass, PoolName, Priority, RunId, TimerId, Timestamp, ValueId, Visit,
    WorkflowName,
};
use uuid::Uuid;

pub(crate) const P: PartitionNo = PartitionNo(3);
/// Long enough that no lease of a case ends by itself.
pub(crate) const LONG_MS: u64 = 600_000;

pub(crate) fn run(n: u128) -> RunId {
    RunId(Uuid::from_u128(n))
}

pub(crate) fn ns(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

pub(crate) fn wf(name: &str) -> WorkflowName {
    WorkflowName::new(name).unwrap()
}

pub(crate) fn at(seq: u64) -> Cursor {
    Cursor { incarnation: 1, seq, at: Timestamp(1_700_000_000_000 + seq), log: "log-1".into() }
}

pub(crate) async fn lease(store: &dyn Store) -> Lease {
    store.acquire(P, "a", LONG_MS, 0).await.unwrap().expect("nobody else holds it")
}

/// An empty commit from one cursor to the next.
pub(crate) fn commit(lease: &Lease, from: &Cursor, to: &Cursor) -> Commit {
    Commit {
        partition: P,
        lease: lease.clone(),
        from: from.clone(),
        to: to.clone(),
        runs: Vec::new(),
        outbox_put: Vec::new(),
        outbox_drop: Vec::new(),
        timers_put: Vec::new(),
        timers_drop: Vec::new(),
        told_put: None,
        told_drop: Vec::new(),
    }
}

/// A partition with its owner, that commits one change after the other.
pub(crate) struct Owner<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) lease: Lease,
    pub(crate) cursor: Cursor,
}

impl<'a> Owner<'a> {
    pub(crate) async fn new(store: &'a dyn Store) -> Self {
        Self { store, lease: lease(store).await, cursor: Cursor::default() }
    }

    pub(crate) fn next(&self) -> Commit {
        commit(&self.lease, &self.cursor, &at(self.cursor.seq.wrapping_add(1)))
    }

    pub(crate) async fn commit(&mut self, change: impl FnOnce(&mut Commit)) {
        let mut next = self.next();
        change(&mut next);
        let to = next.to.clone();
        self.store.commit(next).await.unwrap();
        self.cursor = to;
    }

    pub(crate) async fn write(&mut self, runs: Vec<RunWrite>) {
        self.commit(|c| c.runs = runs).await;
    }
}

pub(crate) fn index(submitted: u64, state: RunState) -> RunIndex {
    RunIndex { namespace: ns("n"), workflow: wf("w"), state, submitted_at: Timestamp(submitted) }
}

pub(crate) fn write(n: u128, before: Option<RunState>, state: RunState) -> RunWrite {
    RunWrite {
        run: run(n),
        control: format!("control {n}").into_bytes(),
        values_put: Vec::new(),
        values_drop: Vec::new(),
        values_clear: false,
        index: index(1_000 + (n % 1_000) as u64, state),
        state_before: before,
        expire_ms: None,
    }
}

pub(crate) fn new_run(n: u128) -> RunWrite {
    write(n, None, RunState::Running)
}

pub(crate) fn value(id: u64, text: &str) -> (ValueId, Vec<u8>) {
    (ValueId(id), text.as_bytes().to_vec())
}

pub(crate) fn command(n: u128, dispatch: u32) -> CommandId {
    CommandId { run: run(n), visit: Visit(1), pass: Pass(0), dispatch }
}

pub(crate) fn entry(id: CommandId, published: Option<u64>) -> OutboxEntry {
    OutboxEntry {
        id,
        pool: PoolName::new("llm").unwrap(),
        priority: Priority::High,
        published: published.map(|seq| Published { seq, stream: "2026-11-22T10:00:00Z".into() }),
    }
}

pub(crate) fn query() -> ListQuery {
    ListQuery { namespace: ns("n"), workflow: None, state: None, from: None, to: None, after: None, limit: 1_000 }
}

pub(crate) async fn listed(store: &dyn Store, query: &ListQuery) -> Vec<u128> {
    let rows = store.list(P, query).await.unwrap();
    rows.iter().map(|(_, run)| run.0.as_u128()).collect()
}

pub(crate) async fn listed_in(store: &dyn Store, state: RunState) -> Vec<u128> {
    listed(store, &ListQuery { state: Some(state), ..query() }).await
}

pub(crate) async fn load_one(store: &dyn Store, n: u128) -> Option<StoredRun> {
    let mut found = store.load(P, &[run(n)]).await.unwrap();
    assert_eq!(found.len(), 1);
    found.pop().unwrap()
}

/// Values in the order of their ids: a store may return them in any.
pub(crate) fn sorted(mut stored: StoredRun) -> StoredRun {
    stored.values.sort();
    stored
}

/// Everything that can be asked about a partition, to be compared before and after.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) note: Option<Suspicion>,
    pub(crate) runs: Vec<Option<StoredRun>>,
    pub(crate) outbox: Vec<OutboxEntry>,
    pub(crate) timers: Vec<(RunId, TimerId, Timestamp)>,
    pub(crate) live: Vec<RunId>,
    pub(crate) lists: Vec<Vec<(Timestamp, RunId)>>,
}

/// `runs`: the ids 1 to `runs` are loaded.
pub(crate) async fn picture(store: &dyn Store, runs: u128) -> Picture {
    let ids: Vec<RunId> = (1..=runs).map(run).collect();
    let loaded = store.load(P, &ids).await.unwrap();
    let mut outbox = store.outbox(P).await.unwrap();
    outbox.sort_by_key(|e| e.id);
    let mut timers = store.timers(P).await.unwrap();
    timers.sort();
    let mut lists = Vec::new();
    for state in std::iter::once(None).chain(RunState::ALL.into_iter().map(Some)) {
        for workflow in [None, Some(wf("w"))] {
            let query = ListQuery { state, workflow, limit: 100_000, ..query() };
            lists.push(store.list(P, &query).await.unwrap());
        }
    }
    Picture {
        cursor: store.cursor(P).await.unwrap(),
        note: store.suspicion(P).await.unwrap(),
        runs: loaded.into_iter().map(|r| r.map(sorted)).collect(),
        outbox,
        timers,
        live: store.live_runs(P, None, 100_000).await.unwrap(),
        lists,
    }
}

pub(crate) fn is_stale<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Stale(_)))
}

/// Asks again and again until the answer is yes: for what happens by the passing of time.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
