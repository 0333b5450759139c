//! Follows a run until it ends: prints what happens to it, and survives that its owner changes meanwhile.

use std::future::Future;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use stepmill_protocol::api::{RunState, RunView};
use stepmill_protocol::{Client, Millis, Problem, RunId};
use tokio::time::Instant;

use crate::error::CliError;
use crate::output::Output;
use crate::render;

/// How long one look waits for something new. A look at a coordinator that dies meanwhile is not answered: the next one comes this
/// much later.
const LOOK: Millis = Millis(2_000);
/// How long a system may be unreachable before we give up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the life-cycle events of a run on its way.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(300);

/// Prints each thing that happens to the run; returns it as it is at its end.
pub(crate) async fn follow(client: &Client, out: Output, run: RunId) -> Result<RunView, CliError> {
    let bar = spinner(out);
    let mut view = client.get(run).await?;
    let mut seen = 0;
    loop {
        bar.set_message(at(&view));
        seen = print_new(client, out, &bar, run, seen).await?;
        if has_stopped(view.state) {
            bar.finish_and_clear();
            return Ok(view);
        }
        let rev = view.rev;
        view = patiently(|| client.get_after(run, rev, LOOK)).await?;
    }
}

/// Prints each life-cycle event of the run; returns it as it is at its end.
pub(crate) async fn follow_events(client: &Client, out: Output, run: RunId) -> Result<RunView, CliError> {
    let bar = spinner(out);
    let mut view = client.get(run).await?;
    let mut seen: Option<String> = None;
    loop {
        bar.set_message(at(&view));
        loop {
            let events = patiently(|| client.life(run, seen.as_deref())).await?.events;
            let Some(last) = events.last() else { break };
            seen = last.attribute("sequence").and_then(|v| v.as_str()).map(str::to_owned);
            bar.suspend(|| {
                for event in &events {
                    out.json(event)?;
                    out.text(&render::life_event(event))?;
                }
                Ok::<(), CliError>(())
            })?;
        }
        if has_stopped(view.state) {
            bar.finish_and_clear();
            return Ok(view);
        }
        let rev = view.rev;
        view = patiently(|| client.get_after(run, rev, LOOK)).await?;
        // Each look at the events folds the run again: not more often than anybody reads.
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits for the run's end without a word.
pub(crate) async fn wait(client: &Client, run: RunId) -> Result<RunView, CliError> {
    loop {
        let view = patiently(|| client.result_within(run, LOOK)).await?;
        if has_stopped(view.state) {
            return Ok(view);
        }
    }
}

// A parked run does not go on by itself either.
const fn has_stopped(state: RunState) -> bool {
    state.is_final() || matches!(state, RunState::Parked)
}

async fn print_new(
    client: &Client,
    out: Output,
    bar: &ProgressBar,
    run: RunId,
    mut seen: u64,
) -> Result<u64, CliError> {
    loop {
        let entries = patiently(|| client.history(run, seen)).await?.entries;
        let Some(last) = entries.last() else { return Ok(seen) };
        seen = last.seq;
        bar.suspend(|| {
            for entry in &entries {
                out.json(&json!({ "entry": entry }))?;
                if let Some(line) = render::history_entry(entry) {
                    out.text(&line)?;
                }
            }
            Ok::<(), CliError>(())
        })?;
    }
}

fn spinner(out: Output) -> ProgressBar {
    if !out.draws() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn at(view: &RunView) -> String {
    match view.live.as_slice() {
        [] => view.state.as_str().to_owned(),
        [one] => render::live_step(one),
        [first, rest @ ..] => format!("{} (and {} more)", render::live_step(first), rest.len()),
    }
}

/// Repeats a harmless call while nobody answers, for instance while a partition changes its owner.
pub(crate) async fn patiently<T, F, Fut>(call: F) -> Result<T, CliError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Problem>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(problem) if is_passing(&problem) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            Err(problem) => return Err(problem.into()),
        }
    }
}

const fn is_passing(problem: &Problem) -> bool {
    matches!(problem.status, 408 | 429 | 500..=599)
}
