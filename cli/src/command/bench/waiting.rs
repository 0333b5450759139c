//! `bench waiting`: what runs that wait hold in memory.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;
use stepmill_protocol::{Client, Millis, RunId};
use tokio::time::{Instant, sleep};

use super::flow::{Flow, Wait};
use super::line::Line;
use super::load::{Load, bar};
use super::machinery::{Machinery, Profile};
use super::stand::Stand;
use super::times::round;
use crate::command::Context;
use crate::error::CliError;
use crate::follow::patiently;

const EXAMPLES: &str = "\
Examples:
  stepmill bench waiting --json
  stepmill bench waiting --runs 100000 --wait task --json
  stepmill bench waiting --runs 20000 --done 4 --json

Runs of a workflow of so many steps that wait for a day, or for a task of a pool without workers; in front of their first \
step unless --done says otherwise.";
const MEANING: &str = "redis_bytes_per_run: growth of Redis' used_memory with indexes, divided by the runs; coordinator_mb: \
                       peak memory of the largest coordinator; p50_ms and p99_ms: from the call of submit to its answer";
/// How long a run may take to come to where it waits.
const REST_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Looks in a row at which the memory has to be the same.
const LOOKS: u32 = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WaitingArgs {
    /// Runs
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Steps of the workflow
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N")]
    steps: u32,
    /// Steps that are done before the wait
    #[arg(long, default_value_t = 0, value_name = "N")]
    done: u32,
    /// What they wait for
    #[arg(long, value_enum, default_value_t = Wait::Time)]
    wait: Wait,
    /// Coordinator processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    coordinators: u16,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
}

const IN_FLIGHT: usize = 512;
const SLOTS: u16 = 64;

pub(crate) async fn run(context: &Context, args: &WaitingArgs) -> Result<(), CliError> {
    let (runs, steps, done) = (args.runs as usize, args.steps as usize, args.done.min(args.steps));
    let workers = u16::from(done > 0);
    let machinery = Machinery::of(args.coordinators, workers, SLOTS, args.profile);
    let mut stand = Stand::start(context, &machinery).await?;
    let client = stand.client();
    let redis = stand.fleet()?.redis_url().to_owned();
    let flow = Flow::waiting(&client, steps, done as usize, args.wait)?;
    flow.define(&client).await?;
    let load = Load::of(&flow, IN_FLIGHT);
    let warm_up = stand.while_it_runs(load.submit(&client, (runs / 100).clamp(1, 100), &ProgressBar::hidden())).await?;
    stand.while_it_runs(rest(&client, &warm_up.1, u64::from(done))).await?;
    let before = stand.while_it_runs(at_rest(&redis)).await?;
    let bar = bar(context, runs);
    let ((measured, ids), cost) = stand.measure(load.submit(&client, runs, &bar)).await?;
    bar.finish_and_clear();
    stand.while_it_runs(rest(&client, &ids, u64::from(done))).await?;
    let after = stand.while_it_runs(at_rest(&redis)).await?;
    // Looked at again: what came after the last submission counts too.
    let ((), at_end) = stand.measure(async { Ok(()) }).await?;
    let coordinator = at_end.uses.get("coordinator").map_or(0.0, |u| u.peak_rss_mb);
    let line = Line::new("waiting", stand.facts(), (runs, 0), MEANING)
        .with("wait", args.wait.as_str())
        .with("steps_of_the_workflow", steps)
        .with("steps_done", done)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, 1)
        .figure("coordinator_mb", round(coordinator))
        .figure("redis_bytes_per_run", (after.saturating_sub(before) as f64 / runs as f64).round());
    stand.stop().await?;
    line.print(context)
}

/// Each run has come to where it waits.
async fn rest(client: &Client, ids: &[RunId], done: u64) -> Result<(), CliError> {
    if done == 0 {
        return Ok(());
    }
    let arrive = async |run: RunId| {
        let until = Instant::now() + REST_WITHIN;
        let mut rev = 0;
        loop {
            let view = patiently(|| client.get_after(run, rev, Millis(1_000))).await?;
            if view.steps_done >= done {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(CliError::new(format!("run {run} has only {} of {done} steps done", view.steps_done)));
            }
            rev = view.rev;
        }
    };
    futures::stream::iter(ids.iter().copied()).map(arrive).buffer_unordered(IN_FLIGHT).try_collect().await
}

/// Bytes that Redis holds once nothing changes any more.
async fn at_rest(redis: &str) -> Result<u64, CliError> {
    let until = Instant::now() + REST_WITHIN;
    let failed = |e: stepmill_floor::FloorError| CliError::new(e.to_string());
    let mut last = stepmill_floor::memory_used(redis).await.map_err(failed)?;
    let mut same = 0;
    while same < LOOKS && Instant::now() < until {
        sleep(LOOK_AGAIN).await;
        let now = stepmill_floor::memory_used(redis).await.map_err(failed)?;
        // Heartbeats of leases come and go.
        same = if now.abs_diff(last) < last / 500 { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
