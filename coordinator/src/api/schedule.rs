//! Keeping schedules: the newest version of a workflow counts. Its schedule is a run of a workflow of its own (see
//! [`Plan::keeper`]); those of other versions are ended.

use stepmill_definition::plan::{Plan, Schedule};
use stepmill_protocol::api::RunState;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Event, PartitionNo, Problem, RunId, Version, WorkflowName, limit};

use super::define::{find_digest, keep};
use super::submit::{NewRun, start_run};
use super::{append_and_wait, store_problem};
use crate::partition::decode;
use crate::port::store::ListQuery;
use crate::shared::Shared;

/// Why a schedule's run is ended, for people.
const REPLACED: &str = "a newer version of the workflow is registered";

/// Makes the schedules of a workflow what its newest version says. Safe to repeat; a `define` that dies before it is done was
/// not answered and is repeated.
pub(super) async fn keep_schedule(shared: &Shared, plan: &Plan) -> Result<(), Problem> {
    let Ok(keeper) = plan.keeper_name() else { return Ok(()) };
    if !is_newest(shared, plan).await? {
        return Ok(());
    }
    let Some(source) = plan.keeper() else {
        return end_others(shared, plan, &keeper, Some(&plan.version)).await;
    };
    // One that listens must be there before those of other versions go: an event between them would start no run.
    let listens = matches!(plan.schedule, Some(Schedule::On { .. }));
    if !listens {
        end_others(shared, plan, &keeper, Some(&plan.version)).await?;
    }
    // A definition never changes: where this product wrote another text for the version, that one goes on.
    if find_digest(shared, &plan.namespace, &keeper, Some(&plan.version)).await?.is_none() {
        let compiled = stepmill_definition::compile(&source)
            .map_err(|e| Problem::standard(Standard::Runtime, format!("the schedule cannot be kept: {e}")))?;
        keep(shared, compiled.plan, source).await?;
    }
    let new = NewRun {
        workflow: keeper.clone(),
        version: Some(plan.version.clone()),
        input: stepmill_protocol::Value::Null,
        key: Some(plan.version.to_string()),
        run: None,
        parent: None,
    };
    start_run(shared, &plan.namespace, new).await?;
    if listens {
        end_others(shared, plan, &keeper, Some(&plan.version)).await?;
    }
    // Another version may have come meanwhile, and have looked for this schedule before it was there.
    if !is_newest(shared, plan).await? {
        end_others(shared, plan, &keeper, None).await?;
    }
    Ok(())
}

async fn is_newest(shared: &Shared, plan: &Plan) -> Result<bool, Problem> {
    let newest = find_digest(shared, &plan.namespace, &plan.name, None).await?;
    Ok(newest.as_ref() == Some(&plan.digest))
}

/// Ends the schedules of all versions but one; without one, that of this plan's version.
async fn end_others(shared: &Shared, plan: &Plan, keeper: &WorkflowName, but: Option<&Version>) -> Result<(), Problem> {
    for partition in (0..shared.partitions).map(PartitionNo) {
        let query = ListQuery {
            namespace: plan.namespace.clone(),
            workflow: Some(keeper.clone()),
            state: Some(RunState::Running),
            from: None,
            to: None,
            after: None,
            limit: limit::LIST_PAGE_MAX,
        };
        let rows = shared.ports.store.list(partition, &query).await.map_err(store_problem)?;
        let ids: Vec<RunId> = rows.into_iter().map(|(_, run)| run).collect();
        let stored = shared.ports.store.load(partition, &ids).await.map_err(store_problem)?;
        for (id, stored) in ids.into_iter().zip(stored) {
            let Some(run) = stored.as_ref().and_then(|stored| decode(stored).ok()) else { continue };
            let stays = match but {
                Some(version) => run.version() == version,
                None => *run.version() != plan.version,
            };
            if !stays {
                append_and_wait(shared, id, Event::Cancel { reason: REPLACED.into() }).await?;
            }
        }
    }
    Ok(())
}
