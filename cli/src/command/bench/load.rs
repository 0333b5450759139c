//! The load: many runs of one workflow with a bounded number in flight, and how long each took.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use stepmill_protocol::api::{RunState, RunView};
use stepmill_protocol::{Client, Millis, RunId};

use super::flow::Flow;
use super::stand::{Cost, Stand};
use super::times::Times;
use crate::command::Context;
use crate::error::CliError;
use crate::follow::patiently;

/// How long one question waits unless said.
const LOOK: Millis = Millis(10_000);

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) flow: &'a Flow,
    pub(crate) in_flight: usize,
    /// Bytes of text in each run's input.
    pub(crate) payload_bytes: usize,
    /// How long one question for a run's end waits for it.
    pub(crate) look: Millis,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    /// One per run: from the call of submit to the answer of result (of submit, where that is all).
    pub(crate) times: Times,
}

impl<'a> Load<'a> {
    /// Runs of this workflow with small inputs and patient questions.
    pub(crate) const fn of(flow: &'a Flow, in_flight: usize) -> Self {
        Self { flow, in_flight, payload_bytes: 0, look: LOOK }
    }

    /// Submits `runs` runs and waits for the end of each.
    pub(crate) async fn drive(&self, client: &Client, runs: usize, bar: &ProgressBar) -> Result<Measured, CliError> {
        let text = "x".repeat(self.payload_bytes);
        let begun = Instant::now();
        let mut ended = futures::stream::iter(0..runs)
            .map(|n| self.one(client, json!({ "n": n, "text": text })))
            .buffer_unordered(self.in_flight.max(1));
        let mut times = Vec::with_capacity(runs);
        while let Some(time) = ended.next().await {
            times.push(time?);
            bar.inc(1);
        }
        Ok(Measured { wall: begun.elapsed(), times: Times(times) })
    }

    /// Submits `runs` runs and does not wait for their ends. Their ids are in no order.
    pub(crate) async fn submit(
        &self,
        client: &Client,
        runs: usize,
        bar: &ProgressBar,
    ) -> Result<(Measured, Vec<RunId>), CliError> {
        let begun = Instant::now();
        let mut accepted = futures::stream::iter(0..runs)
            .map(|_| async {
                let begun = Instant::now();
                let request = self.flow.request(Value::Null);
                let run = patiently(|| client.submit(&request)).await?.run;
                Ok::<_, CliError>((begun.elapsed(), run))
            })
            .buffer_unordered(self.in_flight.max(1));
        let (mut times, mut ids) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
        while let Some(answer) = accepted.next().await {
            let (time, run) = answer?;
            times.push(time);
            ids.push(run);
            bar.inc(1);
        }
        Ok((Measured { wall: begun.elapsed(), times: Times(times) }, ids))
    }

    /// Registers the workflow, warms the system up, and measures `runs` runs.
    pub(crate) async fn measure(
        &self,
        context: &Context,
        stand: &mut Stand,
        runs: usize,
    ) -> Result<(Measured, Cost), CliError> {
        let client = stand.client();
        self.flow.define(&client).await?;
        // Enough to have everything connected and loaded.
        let warm_up = (runs / 10).clamp(1, 200);
        stand.while_it_runs(self.drive(&client, warm_up, &ProgressBar::hidden())).await?;
        context.out.note(&format!("measuring {runs} runs, {} in flight", self.in_flight.min(runs)));
        let bar = bar(context, runs);
        let measured = stand.measure(self.drive(&client, runs, &bar)).await?;
        bar.finish_and_clear();
        Ok(measured)
    }

    async fn end_of(&self, client: &Client, run: RunId) -> Result<RunView, CliError> {
        loop {
            let view = patiently(|| client.result_within(run, self.look)).await?;
            // A parked run does not go on by itself.
            if view.state.is_final() || view.state == RunState::Parked {
                return Ok(view);
            }
        }
    }

    async fn one(&self, client: &Client, input: Value) -> Result<Duration, CliError> {
        let begun = Instant::now();
        let request = self.flow.request(input);
        let run = patiently(|| client.submit(&request)).await?.run;
        let view = self.end_of(client, run).await?;
        let took = begun.elapsed();
        match view.state {
            RunState::Completed if self.flow.is_right(&request.input, view.output.as_ref()) => Ok(took),
            RunState::Completed => Err(CliError::new(format!("run {run} ended with another output than it had to"))),
            state @ (RunState::Running | RunState::Faulted | RunState::Cancelled | RunState::Parked) => {
                let why = view.error.map_or_else(String::new, |p| format!(": {p}"));
                Err(CliError::new(format!("run {run} is {}{why}", state.as_str())))
            }
        }
    }
}

/// Progress, for people who look.
pub(crate) fn bar(context: &Context, length: usize) -> ProgressBar {
    if context.out.draws() { ProgressBar::new(length as u64) } else { ProgressBar::hidden() }
}
