//! `get`, `result`, `list`, `history`: what is committed, read from the store and the log by any coordinator.

use std::time::Duration;

use stepmill_engine::Run;
use stepmill_protocol::api::{
    GetRequest, HistoryEntry, HistoryRequest, HistoryResponse, ListRequest, ListResponse, RunView,
};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Event, Millis, Namespace, Operation, PartitionNo, Problem, RunId, Timestamp, limit};

use super::{not_found, queue_problem, store_problem};
use crate::partition::{decode, is_rebuilding};
use crate::port::bus::{OwnerAnswer, OwnerRequest};
use crate::port::queue::LogMessage;
use crate::port::store::{ListQuery, StoreError};
use crate::shared::Shared;

const ROWS: usize = 50;
const ENTRIES: usize = 100;
/// How often a state is read again that does not fit its values.
const TORN_READS_MAX: usize = 3;
/// How long to wait before looking again when a partition has no owner at the moment.
const NO_OWNER_WAIT: Duration = Duration::from_millis(100);

/// A run of this namespace, as committed.
pub(super) async fn load(shared: &Shared, namespace: &Namespace, run: RunId) -> Result<Run, Problem> {
    let partition = run.partition(shared.partitions);
    let mut tries = 0;
    let run_state = loop {
        let stored = shared.ports.store.load(partition, &[run]).await.map_err(store_problem)?;
        let Some(stored) = stored.into_iter().next().flatten() else { return Err(absent(shared, run).await) };
        match decode(&stored) {
            Ok(state) => break state,
            // The owner's commit may have come between the reading of the state and of its values.
            Err(_) if tries < TORN_READS_MAX => tries += 1,
            Err(e) => return Err(store_problem(StoreError::Corrupt(e))),
        }
    };
    if run_state.namespace() == namespace { Ok(run_state) } else { Err(not_found(run)) }
}

/// Why a run is not in the store: there is none, or the store was emptied and is being filled again from the log.
async fn absent(shared: &Shared, run: RunId) -> Problem {
    match shared.ports.store.cursor(run.partition(shared.partitions)).await {
        Ok(cursor) if is_rebuilding(cursor.as_ref()) => {
            let detail = format!("run {run} is not in the store, which is being filled again from the log; try again");
            Problem::standard(Standard::Communication, detail).with_status(503)
        }
        Ok(_) => not_found(run),
        Err(e) => store_problem(e),
    }
}

/// `get`, and with `until_end` `result`: waits as asked, then shows the run.
pub(super) async fn get(
    shared: &Shared,
    namespace: &Namespace,
    request: GetRequest,
    until_end: bool,
) -> Result<RunView, Problem> {
    let wait = request.wait_ms.unwrap_or_default().min(limit::API_WAIT_MAX);
    let deadline = shared.clock.now().plus(wait);
    if until_end && wait.0 > 0 {
        // Most who ask for a result do so while the run is on its way: the store need not be read to know that, nor for its
        // end where the owner is in this process.
        if let Some(OwnerAnswer::Ended(view)) = watch(shared, &request, None, wait).await {
            return if view.namespace == *namespace { Ok(*view) } else { Err(not_found(request.run)) };
        }
    }
    loop {
        let run = load(shared, namespace, request.run).await?;
        let enough = run.state().is_final()
            || if until_end { false } else { request.after_rev.is_none_or(|rev| run.rev() > rev) };
        let left = deadline.since(shared.clock.now());
        if enough || left.0 == 0 {
            return view(shared, &run).await;
        }
        if watch(shared, &request, Some((run.rev(), until_end)), left).await.is_none() {
            tokio::time::sleep(NO_OWNER_WAIT.min(left.into())).await;
        }
    }
}

/// Waits until the owner has seen the run move on from a revision (or end), or end if none is known. None: there was no
/// owner to ask.
async fn watch(shared: &Shared, request: &GetRequest, known: Option<(u64, bool)>, wait: Millis) -> Option<OwnerAnswer> {
    let partition = request.run.partition(shared.partitions);
    let (rev, until_end) = known.unwrap_or((0, true));
    let even_unknown = known.is_some();
    let watch = OwnerRequest::Watch { run: request.run, rev, until_end, even_unknown, wait_ms: wait.0 };
    let timeout = Duration::from(wait) + Duration::from_secs(1);
    shared.ports.bus.ask_owner(partition, &watch, timeout).await.ok()
}

async fn view(shared: &Shared, run: &Run) -> Result<RunView, Problem> {
    match shared.plans.get(run.digest()).await {
        Ok(plan) => Ok(run.view(&plan)),
        // Without its plan the run can still be shown, only not where it stands.
        Err(error) => {
            tracing::warn!(run = %run.id(), %error, "shown without its live steps");
            Ok(run.summary())
        }
    }
}

pub(super) async fn list(
    shared: &Shared,
    namespace: &Namespace,
    request: ListRequest,
) -> Result<ListResponse, Problem> {
    let limit = request.limit.unwrap_or(ROWS).clamp(1, limit::LIST_PAGE_MAX);
    let query = ListQuery {
        namespace: namespace.clone(),
        workflow: request.workflow,
        state: request.state,
        from: request.from,
        to: request.to,
        after: request.cursor.as_deref().map(read_cursor).transpose()?,
        limit: limit + 1,
    };
    let pages = (0..shared.partitions).map(|p| shared.ports.store.list(PartitionNo(p), &query));
    let pages = futures::future::try_join_all(pages).await.map_err(store_problem)?;
    let mut rows: Vec<(Timestamp, RunId)> = pages.into_iter().flatten().collect();
    rows.sort_unstable_by(|a, b| b.cmp(a));
    let next = (rows.len() > limit).then(|| rows[limit - 1]).map(|(at, run)| format!("{}.{run}", at.0));
    rows.truncate(limit);
    Ok(ListResponse { runs: summaries(shared, namespace, &rows).await?, next })
}

/// Loads the rows of a page, partition by partition, in the order of the list.
async fn summaries(
    shared: &Shared,
    namespace: &Namespace,
    rows: &[(Timestamp, RunId)],
) -> Result<Vec<RunView>, Problem> {
    let mut found = std::collections::HashMap::with_capacity(rows.len());
    for partition in (0..shared.partitions).map(PartitionNo) {
        let ids: Vec<RunId> =
            rows.iter().map(|(_, run)| *run).filter(|run| run.partition(shared.partitions) == partition).collect();
        if ids.is_empty() {
            continue;
        }
        let stored = shared.ports.store.load(partition, &ids).await.map_err(store_problem)?;
        for (id, stored) in ids.into_iter().zip(stored) {
            // One that has left the store meanwhile is passed over.
            let Some(stored) = stored else { continue };
            let summary = match decode(&stored) {
                Ok(run) => run.summary(),
                Err(_) => match load(shared, namespace, id).await {
                    Ok(run) => run.summary(),
                    Err(problem) if problem.status == 404 => continue,
                    Err(problem) => return Err(problem),
                },
            };
            found.insert(id, summary);
        }
    }
    Ok(rows.iter().filter_map(|(_, run)| found.remove(run)).collect())
}

fn read_cursor(text: &str) -> Result<(Timestamp, RunId), Problem> {
    let bad = || {
        Problem::standard(
            Standard::Validation,
            "`cursor` is not one that a `list` has given; hand in its `next` as it is",
        )
    };
    let (at, run) = text.split_once('.').ok_or_else(bad)?;
    Ok((Timestamp(at.parse().map_err(|_| bad())?), run.parse().map_err(|_| bad())?))
}

pub(super) async fn history(
    shared: &Shared,
    namespace: &Namespace,
    request: HistoryRequest,
) -> Result<HistoryResponse, Problem> {
    load(shared, namespace, request.run).await?;
    let limit = request.limit.unwrap_or(ENTRIES).clamp(1, limit::LIST_PAGE_MAX);
    let partition = request.run.partition(shared.partitions);
    let messages =
        shared.ports.log.history(partition, request.run, request.after, limit).await.map_err(queue_problem)?;
    Ok(HistoryResponse { entries: messages.into_iter().map(entry).collect() })
}

/// A record for people: without the token and the run's secret.
fn entry(message: LogMessage) -> HistoryEntry {
    let LogMessage { seq, at, record, .. } = message;
    match record {
        Err(reason) => HistoryEntry { seq, at, event: "unreadable".into(), record: reason.into() },
        Ok(record) => {
            let event = record.event.name().to_owned();
            let shown = match record.event {
                Event::Submitted(s) => serde_json::json!({
                    "workflow": s.workflow, "digest": s.digest, "input": s.input, "key": s.key,
                }),
                Event::Report(r) => serde_json::json!({
                    "path": r.path, "visit": r.id.visit, "pass": r.id.pass, "dispatch": r.id.dispatch,
                    "attempt": r.attempt, "worker": r.worker, "took_ms": r.took, "outcome": r.outcome, "usage": r.usage,
                }),
                other @ (Event::Signal { .. }
                | Event::TimerDue { .. }
                | Event::Cancel { .. }
                | Event::Resume { .. }
                | Event::TaskLost { .. }
                | Event::Acted { .. }
                | Event::ChildEnded { .. }
                | Event::Park { .. }
                | Event::Occurred(_)) => {
                    let value = serde_json::to_value(&other).unwrap_or_default();
                    value.get(other.name()).cloned().unwrap_or(value)
                }
                Event::Operated(operation) => operated(&operation),
                Event::Snapshot { as_of, .. } => serde_json::json!({ "as_of": as_of }),
            };
            HistoryEntry { seq, at, event, record: shown }
        }
    }
}

/// What an operator did: who, why, and what belongs to the act.
fn operated(operation: &Operation) -> serde_json::Value {
    let Operation { id, by, reason, act } = operation;
    let mut shown = serde_json::json!({ "id": id, "by": by, "reason": reason });
    let about = serde_json::to_value(act).unwrap_or_default();
    if let (Some(shown), Some(serde_json::Value::Object(more))) = (shown.as_object_mut(), about.get(act.name())) {
        shown.extend(more.clone());
    }
    shown
}
