//! `define`: checks a definition, keeps it in the archive and in the store.

use std::sync::Arc;

use stepmill_definition::plan::Plan;
use stepmill_definition::schedule::SUFFIX;
use stepmill_protocol::api::{DefineRequest, DefineResponse};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Digest, Namespace, Problem, Version, WorkflowName};

use super::{queue_problem, schedule, store_problem};
use crate::port::store::StoredDefinition;
use crate::shared::Shared;

/// The address of a definition by name; looked for in the archive where the store was emptied.
pub(super) async fn find_digest(
    shared: &Shared,
    namespace: &Namespace,
    name: &WorkflowName,
    version: Option<&Version>,
) -> Result<Option<Digest>, Problem> {
    let found = shared.ports.store.find_digest(namespace, name, version).await.map_err(store_problem)?;
    match found {
        Some(digest) => Ok(Some(digest)),
        None => Ok(find(shared, namespace, name, version).await?.map(|definition| definition.digest)),
    }
}

/// A registered definition. Where the store knows none, it is filled from the archive first: it may have been emptied.
async fn find(
    shared: &Shared,
    namespace: &Namespace,
    name: &WorkflowName,
    version: Option<&Version>,
) -> Result<Option<StoredDefinition>, Problem> {
    let store = &shared.ports.store;
    let found = store.find_definition(namespace, name, version).await.map_err(store_problem)?;
    if found.is_some() {
        return Ok(found);
    }
    shared
        .plans
        .refill()
        .await
        .map_err(|e| Problem::standard(Standard::Communication, format!("{e}; try again")).with_status(503))?;
    store.find_definition(namespace, name, version).await.map_err(store_problem)
}

pub(super) async fn define(
    shared: &Shared,
    namespace: &Namespace,
    request: DefineRequest,
) -> Result<DefineResponse, Problem> {
    let plan = stepmill_definition::compile(&request.source).map_err(|mistakes| {
        let mut problem = Problem::standard(Standard::Configuration, mistakes.to_string());
        problem.extra = serde_json::to_value(&mistakes).ok();
        problem
    })?;
    let plan = plan.plan;
    if plan.name.as_str().ends_with(SUFFIX) {
        let detail = format!("names that end with `{SUFFIX}` are the system's own; use letters, digits and hyphens");
        return Err(Problem::standard(Standard::Configuration, detail));
    }
    if plan.namespace != *namespace {
        return Err(Problem::standard(
            Standard::Configuration,
            format!(
                "the document's namespace is `{}`, but it was sent to `{namespace}`; send it to its own",
                plan.namespace
            ),
        ));
    }
    let (plan, defined) = keep(shared, plan, request.source).await?;
    schedule::keep_schedule(shared, &plan).await?;
    Ok(defined)
}

/// Keeps a definition in the store and in the archive.
pub(super) async fn keep(shared: &Shared, plan: Plan, source: String) -> Result<(Arc<Plan>, DefineResponse), Problem> {
    let plan = Arc::new(plan);
    let definition = StoredDefinition {
        digest: plan.digest.clone(),
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        version: plan.version.clone(),
        source,
        registered_at: shared.clock.now(),
    };
    // A store that was emptied must not take another text for a version that the archive knows.
    find(shared, &definition.namespace, &definition.name, Some(&definition.version)).await?;
    let (stored, created) = shared.ports.store.put_definition(&definition).await.map_err(store_problem)?;
    if stored.digest != definition.digest {
        return Err(Problem::own(
            "version-exists",
            409,
            "Version exists",
            format!(
                "version {} of `{}` is registered with another text; a definition never changes: give this one a new version",
                stored.version, stored.name
            ),
        ));
    }
    // Also when it was there before: the archive may have missed it when this call died last time.
    shared.ports.archive.keep_definition(&stored).await.map_err(queue_problem)?;
    shared.plans.keep(plan.clone());
    Ok((plan, DefineResponse { digest: stored.digest, workflow: stored.name, version: stored.version, created }))
}
