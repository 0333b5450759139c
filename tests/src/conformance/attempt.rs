//! One definition run once, on a system of its own.

use std::time::{Duration, Instant};

use serde_json::Value;
use stepmill_protocol::api::{RunView, SubmitRequest};
use stepmill_protocol::{Client, Millis, Namespace, Problem, RunId};

use super::adapter::Adapter;
use super::scene::Scene;

/// How it went.
pub(super) enum Attempt {
    /// The definition or the submission was refused.
    Refused(Problem),
    /// The run, as it was at its end or when the time was over, and the names of its tasks in the order in which they began.
    Ran(Box<RunView>, Vec<String>),
}

/// Registers a definition, starts a run of it and waits for its end.
pub(super) async fn attempt(
    adapter: Adapter,
    definition: &str,
    input: Value,
    within: Duration,
    scene: &Scene,
) -> Result<Attempt, String> {
    let system = adapter.start().await?;
    let namespace = namespace_of(definition)?;
    let client = system.client(namespace);
    let ended: Result<_, Problem> = async {
        for companion in &scene.companions {
            client.define(companion).await?;
        }
        let defined = client.define(definition).await?;
        let request = SubmitRequest { workflow: defined.workflow, version: None, input, key: None };
        let run = client.submit(&request).await?.run;
        let until = Instant::now() + within;
        scene.play(&client, run, until).await?;
        let view = match scene.forever {
            true => client.get(run).await?,
            false => client.result_within(run, Millis::from(until.saturating_duration_since(Instant::now()))).await?,
        };
        Ok((view, order(&client, run).await?))
    }
    .await;
    let attempt = match ended {
        Ok((view, order)) => Attempt::Ran(Box::new(view), order),
        Err(problem) => Attempt::Refused(problem),
    };
    system.stop().await?;
    Ok(attempt)
}

/// The tasks of a run, as its life-cycle events tell it.
async fn order(client: &Client, run: RunId) -> Result<Vec<String>, Problem> {
    let (mut order, mut after) = (Vec::new(), None::<String>);
    loop {
        let events = client.life(run, after.as_deref()).await?.events;
        let Some(last) = events.last() else { return Ok(order) };
        after = last.attribute("sequence").and_then(Value::as_str).map(str::to_owned);
        let begun = events.iter().filter(|event| event.kind() == "io.serverlessworkflow.task.started.v1");
        let names = begun.filter_map(|event| event.data().get("task")?.as_str()?.rsplit('/').next());
        order.extend(names.map(|name| name.replace("~1", "/").replace("~0", "~")));
    }
}

/// The namespace that the document itself names.
fn namespace_of(definition: &str) -> Result<Namespace, String> {
    let document: Value = serde_saphyr::from_str(definition).map_err(|e| e.to_string())?;
    let named = document.pointer("/document/namespace").and_then(Value::as_str).unwrap_or("default");
    Namespace::new(named).map_err(|e| e.to_string())
}
