//! What operators do to single runs: each act is appended to the run's log with who and why, and folded like everything else.

use stepmill_protocol::api::{Acknowledged, OutputRequest, RerunRequest, SteerRequest, Why};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Act, Event, Namespace, Operation, Problem, RunId, Target, Value, codec, limit};

use super::change::change;
use crate::shared::Shared;

pub(super) async fn terminate(
    shared: &Shared,
    namespace: &Namespace,
    request: SteerRequest,
) -> Result<Acknowledged, Problem> {
    operate(shared, namespace, request.run, request.why, Act::Terminate).await
}

pub(super) async fn pause(
    shared: &Shared,
    namespace: &Namespace,
    request: SteerRequest,
) -> Result<Acknowledged, Problem> {
    operate(shared, namespace, request.run, request.why, Act::Pause).await
}

pub(super) async fn resume(
    shared: &Shared,
    namespace: &Namespace,
    request: SteerRequest,
) -> Result<Acknowledged, Problem> {
    operate(shared, namespace, request.run, request.why, Act::Unpause).await
}

pub(super) async fn rerun(
    shared: &Shared,
    namespace: &Namespace,
    request: RerunRequest,
) -> Result<Acknowledged, Problem> {
    let RerunRequest { run, step, token, input, why } = request;
    if let Some(input) = &input {
        fits(input, "input")?;
    }
    operate(shared, namespace, run, why, Act::Rerun { step: Target { path: step, token }, input }).await
}

pub(super) async fn skip(
    shared: &Shared,
    namespace: &Namespace,
    request: OutputRequest,
) -> Result<Acknowledged, Problem> {
    let OutputRequest { run, step, token, output, why } = request;
    fits(&output, "output")?;
    operate(shared, namespace, run, why, Act::Skip { step: Target { path: step, token }, output }).await
}

pub(super) async fn set(
    shared: &Shared,
    namespace: &Namespace,
    request: OutputRequest,
) -> Result<Acknowledged, Problem> {
    let OutputRequest { run, step, token, output, why } = request;
    fits(&output, "output")?;
    operate(shared, namespace, run, why, Act::Set { step: Target { path: step, token }, output }).await
}

async fn operate(
    shared: &Shared,
    namespace: &Namespace,
    run: RunId,
    why: Why,
    act: Act,
) -> Result<Acknowledged, Problem> {
    let event = Event::Operated(Box::new(operation(why, act)?));
    change(shared, namespace, run, event).await
}

/// An act with who and why.
pub(super) fn operation(why: Why, act: Act) -> Result<Operation, Problem> {
    let Why { by, reason, id } = why;
    for (what, given, max) in [("by", &by, limit::ACTOR_BYTES_MAX), ("reason", &reason, limit::REASON_BYTES_MAX)] {
        if given.len() > max {
            let detail = format!("`why.{what}` has {} bytes, {max} are allowed", given.len());
            return Err(Problem::standard(Standard::Validation, detail));
        }
    }
    Ok(Operation { id: id.unwrap_or_else(uuid::Uuid::new_v4), by, reason, act })
}

/// The log takes only so much in one record.
pub(super) fn fits(value: &Value, what: &str) -> Result<(), Problem> {
    let bytes = codec::pack(value).map_err(|e| Problem::standard(Standard::Validation, e.to_string()))?.len();
    let max = limit::VALUE_BYTES_MAX;
    if bytes > max {
        let detail =
            format!("the {what} has {bytes} bytes, {max} are allowed; store it elsewhere and pass a reference");
        return Err(Problem::standard(Standard::Validation, detail).with_status(413));
    }
    Ok(())
}
