//! `hold`, `release` and `holds`: the tasks of a workflow, a namespace or a pool are held back. What is said is appended to the log and
//! committed by an owner; the answer is given when every owner that is there knows it.

use std::time::Duration;

use stepmill_protocol::api::{Folded, HoldRequest, HoldResponse, HoldsResponse};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Act, Event, Hold, Namespace, PartitionNo, Problem, Scope};

use super::operate::operation;
use super::{append_and_wait, store_problem};
use crate::port::bus::OwnerRequest;
use crate::shared::Shared;

/// How long an owner may take to look. One that is not there looks before it begins.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

pub(super) async fn change(
    shared: &Shared,
    namespace: &Namespace,
    request: HoldRequest,
    hold: bool,
) -> Result<HoldResponse, Problem> {
    let HoldRequest { workflow, pool, why } = request;
    let scope = match (workflow, pool) {
        (Some(_), Some(_)) => {
            return Err(Problem::standard(Standard::Validation, "`workflow` or `pool` can be named, not both"));
        }
        (Some(workflow), None) => Scope::Workflow { namespace: namespace.clone(), workflow },
        (None, Some(pool)) if pool.is_system() => {
            let detail = "the pool `system` is the system's own; pause a workflow or a run";
            return Err(Problem::standard(Standard::Validation, detail));
        }
        (None, Some(pool)) => Scope::Pool { pool },
        (None, None) => Scope::Namespace { namespace: namespace.clone() },
    };
    let act = if hold { Act::Hold { scope: scope.clone() } } else { Act::Release { scope: scope.clone() } };
    let event = Event::Operated(Box::new(operation(why, act)?));
    let answer = append_and_wait(shared, scope.id(), event).await?;
    // Also when nothing changed: whoever said it before may have died before all knew.
    tell(shared).await;
    match answer {
        Folded::Applied => Ok(HoldResponse { scope, applied: true, note: None }),
        Folded::Ignored { note } => Ok(HoldResponse { scope, applied: false, note: Some(note) }),
        Folded::Refused(problem) => Err(problem),
    }
}

async fn tell(shared: &Shared) {
    let bus = &shared.ports.bus;
    let asked = (0..shared.partitions).map(|partition| async move {
        if let Err(problem) = bus.ask_owner(PartitionNo(partition), &OwnerRequest::Holds, LOOK_WITHIN).await {
            tracing::debug!(partition, %problem, "an owner was not told what is held back; it looks by itself");
        }
    });
    futures::future::join_all(asked).await;
}

pub(super) async fn list(shared: &Shared, namespace: &Namespace) -> Result<HoldsResponse, Problem> {
    let mut holds = Vec::new();
    for partition in (0..shared.partitions).map(PartitionNo) {
        holds.extend(shared.ports.store.holds(partition).await.map_err(store_problem)?);
    }
    holds.retain(|hold: &Hold| match &hold.scope {
        Scope::Namespace { namespace: of } | Scope::Workflow { namespace: of, .. } => of == namespace,
        Scope::Pool { .. } => true,
    });
    holds.sort_by(|a, b| a.scope.cmp(&b.scope));
    Ok(HoldsResponse { holds })
}
