//! The load: a workflow that is a chain of no-op steps, many runs of it with a bounded number in flight, and how long each took.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use stepmill_protocol::api::{RunState, SubmitRequest};
use stepmill_protocol::{Client, WorkflowName};

use crate::error::CliError;
use crate::follow::{self, patiently};

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) runs: usize,
    pub(crate) steps: usize,
    pub(crate) in_flight: usize,
    pub(crate) payload_bytes: usize,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    /// From the call of submit to the answer of result, one per run.
    pub(crate) durations: Vec<Duration>,
}

/// The definition of a chain.
pub(crate) fn definition(namespace: &str, steps: usize) -> String {
    let tasks: Vec<Value> = (1..=steps).map(|n| json!({ format!("step{n}"): { "call": "noop" } })).collect();
    let document = json!({ "dsl": "1.0.3", "namespace": namespace, "name": name(steps), "version": "1.0.0" });
    json!({ "document": document, "do": tasks }).to_string()
}

fn name(steps: usize) -> String {
    format!("bench-chain-{steps}")
}

/// Submits `runs` runs and waits for the end of each.
pub(crate) async fn drive(client: &Client, chain: Chain, runs: usize, bar: &ProgressBar) -> Result<Measured, CliError> {
    let workflow = WorkflowName::new(&name(chain.steps)).map_err(|e| CliError::new(e.to_string()))?;
    let text = "x".repeat(chain.payload_bytes);
    let begun = Instant::now();
    let mut ended = futures::stream::iter(0..runs)
        .map(|n| one(client, &workflow, json!({ "n": n, "text": text })))
        .buffer_unordered(chain.in_flight);
    let mut durations = Vec::with_capacity(runs);
    while let Some(duration) = ended.next().await {
        durations.push(duration?);
        bar.inc(1);
    }
    Ok(Measured { wall: begun.elapsed(), durations })
}

async fn one(client: &Client, workflow: &WorkflowName, input: Value) -> Result<Duration, CliError> {
    let begun = Instant::now();
    // A key makes the submission safe to repeat.
    let key = Some(uuid::Uuid::new_v4().to_string());
    let request = SubmitRequest { workflow: workflow.clone(), version: None, input: input.clone(), key };
    let run = patiently(|| client.submit(&request)).await?.run;
    let view = follow::wait(client, run).await?;
    let took = begun.elapsed();
    match (view.state, view.output == Some(input)) {
        (RunState::Completed, true) => Ok(took),
        (RunState::Completed, false) => {
            Err(CliError::new(format!("run {run} ended with another output than its input")))
        }
        (state @ (RunState::Running | RunState::Faulted | RunState::Cancelled | RunState::Parked), _) => {
            let why = view.error.map_or_else(String::new, |p| format!(": {p}"));
            Err(CliError::new(format!("run {run} is {}{why}", state.as_str())))
        }
    }
}

impl Measured {
    /// Milliseconds per step below which this share of the runs lie (nearest rank).
    pub(crate) fn step_ms(&self, share: f64, steps: usize) -> f64 {
        let mut sorted = self.durations.clone();
        sorted.sort();
        let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
        let at = sorted.get(rank - 1).or(sorted.last()).copied().unwrap_or_default();
        at.as_secs_f64() * 1000.0 / steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let durations = (1..=100).map(Duration::from_millis).collect();
        let measured = Measured { wall: Duration::ZERO, durations };
        assert!((measured.step_ms(0.50, 10) - 5.0).abs() < 1e-9);
        assert!((measured.step_ms(0.99, 10) - 9.9).abs() < 1e-9);
    }
}
