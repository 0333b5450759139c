//! `submit`: the way in for new runs, shared by the API and by jobs that were published.

use serde_json::Value;
use stepmill_protocol::api::{Folded, SubmitRequest, SubmitResponse};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Event, Namespace, Parent, Problem, RunId, Submitted, Version, WorkflowName, codec, limit};
use uuid::Uuid;

use super::append_and_wait;
use crate::shared::Shared;

/// A run to be started.
pub(crate) struct NewRun {
    pub(crate) workflow: WorkflowName,
    pub(crate) version: Option<Version>,
    pub(crate) input: Value,
    pub(crate) key: Option<String>,
    /// Its id, where that is derived from something else than its key.
    pub(crate) run: Option<RunId>,
    /// The step of another run that asks for it.
    pub(crate) parent: Option<Parent>,
}

pub(super) async fn submit(
    shared: &Shared,
    namespace: &Namespace,
    request: SubmitRequest,
) -> Result<SubmitResponse, Problem> {
    let SubmitRequest { workflow, version, input, key } = request;
    start_run(shared, namespace, NewRun { workflow, version, input, key, run: None, parent: None }).await
}

/// Starts a run; answers once it is committed.
pub(crate) async fn start_run(shared: &Shared, namespace: &Namespace, new: NewRun) -> Result<SubmitResponse, Problem> {
    append_submission(shared, namespace, new, None).await
}

/// Puts a run there that has ended before it began, so that it never begins; a run that exists is left alone and said not to be created.
pub(crate) async fn start_run_ended(
    shared: &Shared,
    namespace: &Namespace,
    new: NewRun,
    reason: &str,
) -> Result<SubmitResponse, Problem> {
    append_submission(shared, namespace, new, Some(reason.to_owned())).await
}

async fn append_submission(
    shared: &Shared,
    namespace: &Namespace,
    new: NewRun,
    cancelled: Option<String>,
) -> Result<SubmitResponse, Problem> {
    check(&new)?;
    let NewRun { workflow, version, input, key, run, parent } = new;
    let digest = super::define::find_digest(shared, namespace, &workflow, version.as_ref())
        .await?
        .ok_or_else(|| unknown_workflow(namespace, &workflow, version.as_ref()))?;
    let run = match (run, &key) {
        (Some(run), _) => run,
        (None, Some(key)) => RunId::derived(namespace, &workflow, key),
        (None, None) => RunId(Uuid::now_v7()),
    };
    let event = Event::Submitted(Submitted {
        namespace: namespace.clone(),
        workflow,
        digest,
        input,
        secret: Uuid::new_v4().into_bytes().iter().chain(Uuid::new_v4().as_bytes()).copied().collect(),
        key,
        parent,
        engine: stepmill_engine::ENGINE_VERSION,
        cancelled,
    });
    match append_and_wait(shared, run, event).await? {
        Folded::Applied => Ok(SubmitResponse { run, created: true }),
        Folded::Ignored { .. } => Ok(SubmitResponse { run, created: false }),
        Folded::Refused(problem) => Err(problem),
    }
}

fn check(new: &NewRun) -> Result<(), Problem> {
    let refuse = |status, detail: String| Err(Problem::standard(Standard::Validation, detail).with_status(status));
    let max = limit::IDEMPOTENCY_KEY_BYTES_MAX;
    if let Some(key) = new.key.as_ref().filter(|key| key.is_empty() || key.len() > max) {
        return refuse(400, format!("an idempotency key has 1 to {max} bytes; this one has {}", key.len()));
    }
    let bytes = codec::pack(&new.input).map_err(|e| Problem::standard(Standard::Validation, e.to_string()))?.len();
    if bytes > limit::VALUE_BYTES_MAX {
        let max = limit::VALUE_BYTES_MAX;
        return refuse(
            413,
            format!("the input has {bytes} bytes, {max} are allowed; store it elsewhere and pass a reference"),
        );
    }
    Ok(())
}

fn unknown_workflow(namespace: &Namespace, workflow: &WorkflowName, version: Option<&Version>) -> Problem {
    let version = version.map(|v| format!(" in version {v}")).unwrap_or_default();
    let detail = format!(
        "no workflow `{workflow}`{version} is registered in namespace `{namespace}`; register it with `define`"
    );
    Problem::own("unknown-workflow", 404, "Unknown workflow", detail)
}
