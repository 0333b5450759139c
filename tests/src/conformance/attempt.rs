//! One definition run once, on a system of its own.

use std::time::Duration;

use serde_json::Value;
use stepmill_protocol::api::{RunView, SubmitRequest};
use stepmill_protocol::{Millis, Namespace, Problem};

use super::adapter::Adapter;

/// How it went.
pub(super) enum Attempt {
    /// The definition or the submission was refused.
    Refused(Problem),
    /// The run, as it was at its end or when the time was over.
    Ran(Box<RunView>),
}

/// Registers a definition, starts a run of it and waits for its end.
pub(super) async fn attempt(
    adapter: Adapter,
    definition: &str,
    input: Value,
    within: Duration,
) -> Result<Attempt, String> {
    let system = adapter.start().await?;
    let namespace = namespace_of(definition)?;
    let client = system.client(namespace);
    let ended = async {
        let defined = client.define(definition).await?;
        let request = SubmitRequest { workflow: defined.workflow, version: None, input, key: None };
        let run = client.submit(&request).await?.run;
        client.result_within(run, Millis::from(within)).await
    };
    let attempt = match ended.await {
        Ok(view) => Attempt::Ran(Box::new(view)),
        Err(problem) => Attempt::Refused(problem),
    };
    system.stop().await?;
    Ok(attempt)
}

/// The namespace that the document itself names.
fn namespace_of(definition: &str) -> Result<Namespace, String> {
    let document: Value = serde_saphyr::from_str(definition).map_err(|e| e.to_string())?;
    let named = document.pointer("/document/namespace").and_then(Value::as_str).unwrap_or("default");
    Namespace::new(named).map_err(|e| e.to_string())
}
