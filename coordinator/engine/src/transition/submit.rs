//! A run begins, or is submitted again.

use std::sync::Arc;

use stepmill_definition::plan::Plan;
use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, RunId, Submitted, Timestamp, limit};

use crate::advance::{Outcome, ignored};
use crate::errand::Errands;
use crate::fault::Fault;
use crate::fingerprint::fingerprint;
use crate::frame::{Ends, Place};
use crate::mention::Texts;
use crate::observe::Observer;
use crate::rules::ENGINE_VERSION;
use crate::run::{End, Head, Live, Tally};
use crate::scope::{Site, check, workflow_path};
use crate::secret::RunSecret;
use crate::values::{Held, TooMuch, Values};
use crate::walk::Walk;

use super::cancel::cancelled;

/// The first event of a run.
pub(crate) fn begin<'p>(
    plan: &'p Plan,
    id: RunId,
    at: Timestamp,
    submitted: &Submitted,
    observer: Option<&'p Observer>,
) -> Outcome {
    let mut values = Values::default();
    let input = match admit(plan, submitted, &mut values) {
        Ok(input) => input,
        Err(problem) => return Outcome::unchanged(None, Folded::Refused(problem)),
    };
    let head = Head {
        id,
        engine: submitted.engine,
        namespace: submitted.namespace.clone(),
        workflow: submitted.workflow.clone(),
        version: plan.version.clone(),
        digest: plan.digest.clone(),
        submitted_at: at,
        secret: RunSecret::new(&submitted.secret),
        fingerprint: fingerprint(&submitted.namespace, &submitted.workflow, &submitted.input),
        parent: submitted.parent.clone(),
    };
    let tally = Tally { snapshot_at: at, ..Tally::default() };
    let mut walk = Walk::new(plan, at, head, tally, values, Errands::new(), Live::default()).observed(observer);
    if let Some(reason) = &submitted.cancelled {
        drop(input);
        // It stands there so that a start on its way finds it. Nobody waits to hear of its end.
        walk.end = Some(End::Cancelled(walk.hold_problem(&cancelled(reason))));
    } else {
        walk.one_step(|walk| {
            if let Err(fault) = start(walk, input) {
                walk.fault_run(fault.at(&workflow_path()).problem);
            }
        });
    }
    walk.go(Folded::Applied)
}

fn admit(plan: &Plan, submitted: &Submitted, values: &mut Values) -> Result<Held, Problem> {
    if submitted.digest != plan.digest {
        let detail = format!("the submission names definition {}, the plan is of {}", submitted.digest, plan.digest);
        return Err(Problem::standard(Standard::Runtime, detail).with_status(500));
    }
    if submitted.engine > ENGINE_VERSION {
        let (theirs, detail) = (submitted.engine, "this coordinator knows");
        let detail =
            format!("the run is to be started under engine rules {theirs}, {detail} {ENGINE_VERSION}; upgrade it");
        return Err(Problem::standard(Standard::Runtime, detail).with_status(500));
    }
    if submitted.key.as_ref().is_some_and(|key| key.len() > limit::IDEMPOTENCY_KEY_BYTES_MAX) {
        let max = limit::IDEMPOTENCY_KEY_BYTES_MAX;
        let detail = format!("the idempotency key is longer than {max} bytes (IDEMPOTENCY_KEY_BYTES_MAX)");
        return Err(Problem::own("invalid-key", 400, "Invalid idempotency key", detail));
    }
    values.make(Arc::new(submitted.input.clone())).map_err(|e| {
        let status = match e {
            TooMuch::Bytes(_) | TooMuch::Run => 413,
            TooMuch::Depth => 400,
        };
        Problem::own("invalid-input", status, "Invalid input", format!("the input cannot be taken: {e}"))
    })
}

/// The workflow's own input, timeout and first task.
fn start(walk: &mut Walk<'_>, raw: Held) -> Result<(), Fault> {
    let plan = walk.plan;
    let site = Site::workflow(walk.at);
    let texts = Texts::plan(plan);
    walk.live.input = texts.mention("workflow").then(|| raw.clone());
    check(plan.flow.input_schema.as_ref(), "workflow's input", raw.value())?;
    let input = match &plan.flow.input_from {
        Some(from) => walk.make(&site, from, raw.value())?,
        None => raw,
    };
    walk.live.context = texts.mention("context").then(|| input.clone());
    if let Some(spec) = &plan.timeout {
        let after = walk.duration(&site, spec, input.value())?;
        walk.arm(after, Ends::Run);
    }
    walk.enter_next(Place { parent: None, slot: 0 }, plan.root, input);
    Ok(())
}

/// A submission of a run that exists.
pub(crate) fn again(head: &Head, submitted: &Submitted) -> Folded {
    if head.fingerprint == fingerprint(&submitted.namespace, &submitted.workflow, &submitted.input) {
        return ignored("the run exists: it was submitted before with the same workflow and input");
    }
    let detail = match &submitted.key {
        Some(key) => format!("run {} was submitted with key `{key}` and another input; use another key", head.id),
        None => format!("run {} was submitted with another input", head.id),
    };
    Folded::Refused(Problem::own("idempotency-conflict", 409, "Idempotency conflict", detail))
}
