//! `bench loops`: whether a loop costs and holds the same at its end as at its beginning.

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::api::RunView;
use tokio::time::{Instant, sleep};

use super::depth::at;
use super::flow::Flow;
use super::line::Line;
use super::load::bar;
use super::machinery::{Machinery, Profile};
use super::stand::Stand;
use super::times::round;
use crate::command::Context;
use crate::error::CliError;
use crate::follow::patiently;

const EXAMPLES: &str = "\
Examples:
  stepmill bench loops --json
  stepmill bench loops --iterations 1000000 --items 10000 --concurrency 100 --json

First one run of so many iterations that only compute, then one whose loop runs a step for each item, several at a time. Each is \
looked at while it has done its second tenth, and its last.";
const MEANING: &str = "early, late: the second and the last tenth of a run; per_s: iterations or items per second; redis_mb: the most that \
                       Redis held beyond what it held before; coordinator_mb: peak memory of the coordinator until then";
const SLOTS: u16 = 64;
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LoopsArgs {
    /// Iterations of the loop that only computes
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000), value_name = "N")]
    iterations: u32,
    /// Items of the loop that runs a step for each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=10_000), value_name = "N")]
    items: u32,
    /// Iterations of it that are under way at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    concurrency: u32,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
}

/// How far a run was at a time, and what was held.
struct Look {
    at: Instant,
    progress: u64,
    redis: u64,
    coordinator_mb: f64,
}

pub(crate) async fn run(context: &Context, args: &LoopsArgs) -> Result<(), CliError> {
    let mut stand = Stand::start(context, &Machinery::of(1, 2, SLOTS, args.profile)).await?;
    let client = stand.client();
    let (iterations, items) = (args.iterations as usize, args.items as usize);
    let counting = Flow::counting(&client, iterations)?;
    let gathering = Flow::gathering(&client, items, args.concurrency as usize)?;
    let (pure, iterated) = follow(context, &mut stand, &counting, |view| view.rev).await?;
    let (fan_out, gathered) = follow(context, &mut stand, &gathering, |view| view.steps_done).await?;
    let line = Line::new("loops", stand.facts(), (2, items), MEANING)
        .with("iterations", iterations)
        .with("concurrency", args.concurrency)
        .wall(iterated + gathered)
        .figure("iterations", tenths(&pure, iterations)?)
        .figure("items", tenths(&fan_out, items)?);
    stand.stop().await?;
    line.print(context)
}

/// Runs one to its end, and looks at it all the while.
async fn follow(
    context: &Context,
    stand: &mut Stand,
    flow: &Flow,
    progress: fn(&RunView) -> u64,
) -> Result<(Vec<Look>, Duration), CliError> {
    let client = stand.client();
    let redis = stand.fleet()?.redis_url().to_owned();
    let meter = stand.fleet()?.meter();
    let bar = bar(context, 0);
    let failed = |e: stepmill_floor::FloorError| CliError::new(e.to_string());
    let looking = async {
        flow.define(&client).await?;
        let request = flow.request(Value::Null);
        let before = stepmill_floor::memory_used(&redis).await.map_err(failed)?;
        let begun = Instant::now();
        let run = patiently(|| client.submit(&request)).await?.run;
        let mut looks = Vec::new();
        loop {
            let view = patiently(|| client.get(run)).await?;
            let held = stepmill_floor::memory_used(&redis).await.map_err(failed)?;
            let coordinator_mb = meter.read().get("coordinator").map_or(0.0, |u| u.peak_rss_mb);
            let progress = progress(&view);
            looks.push(Look { at: Instant::now(), progress, redis: held.saturating_sub(before), coordinator_mb });
            bar.set_position(progress);
            if view.state.is_final() {
                if !flow.is_right(&Value::Null, view.output.as_ref()) {
                    return Err(CliError::new(format!("run {run} ended as {:?}: {:?}", view.state, view.error)));
                }
                return Ok((looks, begun.elapsed()));
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let done = stand.while_it_runs(looking).await;
    bar.finish_and_clear();
    done
}

/// The second tenth of a run and its last.
fn tenths(looks: &[Look], work: usize) -> Result<Value, CliError> {
    let all = looks.last().map_or(0, |look| look.progress);
    let seen: Vec<(Instant, u64)> = looks.iter().map(|look| (look.at, look.progress)).collect();
    let tenth = |number: u64| {
        let (from, to) = (all * number / 10, all * (number + 1) / 10);
        let seconds = at(&seen, to)? - at(&seen, from)?;
        let part = (to - from) as f64 / all as f64;
        let within = looks.iter().skip_while(|look| look.progress < from).take_while(|look| look.progress <= to);
        // Where nobody looked in time, what was seen next.
        let next = looks.iter().find(|look| look.progress > to);
        let redis = within.clone().chain(next).map(|look| look.redis).max()?;
        let coordinator_mb = within.chain(next).last()?.coordinator_mb;
        (seconds > 0.0).then(|| (work as f64 * part / seconds, redis as f64 / 1e6, coordinator_mb))
    };
    let (Some(early), Some(late)) = (tenth(1), tenth(9)) else {
        return Err(CliError::new("the run was over before it could be looked at; give it more to do"));
    };
    let shown = |(per_s, redis, coordinator): (f64, f64, f64)| json!({ "per_s": round(per_s), "redis_mb": round(redis), "coordinator_mb": round(coordinator) });
    Ok(json!({ "early": shown(early), "late": shown(late), "late_against_early": round(late.0 / early.0) }))
}
