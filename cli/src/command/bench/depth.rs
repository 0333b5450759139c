//! `bench depth`: whether a step costs the same with many runs stored, and late in a long run.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use stepmill_protocol::Client;
use tokio::time::{Instant, sleep};

use super::flow::Flow;
use super::line::Line;
use super::load::{Load, bar};
use super::machinery::{Machinery, Profile};
use super::stand::Stand;
use super::times::{Times, round};
use crate::command::Context;
use crate::error::CliError;
use crate::follow::patiently;

const EXAMPLES: &str = "\
Examples:
  stepmill bench depth --json
  stepmill bench depth --stored 1000,1000000 --long 100000 --json

First the rate of chains on systems with so many ended runs in the store, in turn; then the rate of one run's steps from its \
tenth step on and before its end.";
const MEANING: &str = "stored: the rate of chains with that many runs stored, and against the first; long: steps per second of one \
                       run in a window after its tenth step and in one before its end; steps_per_s and cost: the last chains";
const FILL_IN_FLIGHT: usize = 512;
const CHAIN_IN_FLIGHT: usize = 256;
const CHAIN_STEPS: usize = 10;
const PAYLOAD_BYTES: usize = 256;
const SLOTS: u16 = 64;
/// Chains measured with each number of stored runs; the median counts.
const TRIES: usize = 3;
/// Part of the long run that each window covers, and the least of its steps: many more than pass between two looks.
const WINDOWS: u64 = 20;
const WINDOW_MIN: u64 = 1000;
/// The step at which the first window begins.
const WINDOW_FROM: u64 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DepthArgs {
    /// Numbers of ended runs in the store
    #[arg(long, default_value = "1000,100000", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "N")]
    stored: Vec<u32>,
    /// Runs of ten steps that are measured with each of them
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Steps of the long run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=100_000), value_name = "N")]
    long: u32,
    /// Worker processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    workers: u16,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
}

/// A system with so many runs stored.
struct Site {
    stored: u32,
    stand: Stand,
    walls: Times,
}

pub(crate) async fn run(context: &Context, args: &DepthArgs) -> Result<(), CliError> {
    let (runs, long) = (args.runs as usize, args.long as usize);
    let machinery = Machinery::of(1, args.workers, SLOTS, args.profile);
    let mut wanted = args.stored.clone();
    wanted.sort_unstable();
    let mut sites = Vec::new();
    for stored in wanted {
        let mut stand = Stand::start(context, &machinery).await?;
        fill(context, &mut stand, stored as usize).await?;
        sites.push(Site { stored, stand, walls: Times::default() });
    }
    // In turn, so that whatever else happens on the machine happens to all of them.
    let mut last = None;
    for _ in 0..TRIES {
        for site in &mut sites {
            let chain = Flow::chain(&site.stand.client(), CHAIN_STEPS)?;
            let load = Load { payload_bytes: PAYLOAD_BYTES, ..Load::of(&chain, CHAIN_IN_FLIGHT) };
            let (measured, cost) = load.measure(context, &mut site.stand, runs).await?;
            site.walls.0.push(measured.wall);
            last = Some((measured, cost));
        }
    }
    let rate = |site: &Site| (site.stored, (runs * CHAIN_STEPS) as f64 / site.walls.median_s());
    let rates: Vec<(u32, f64)> = sites.iter().map(rate).collect();
    let (Some((measured, cost)), Some(site)) = (last, sites.first_mut()) else {
        return Err(CliError::new("no number of stored runs was given"));
    };
    let client = site.stand.client();
    let flow = Flow::long(&client, long)?;
    flow.define(&client).await?;
    let late = site.stand.while_it_runs(watch(&client, &flow, long as u64, &bar(context, long))).await?;
    let line = Line::new("depth", site.stand.facts(), (runs, CHAIN_STEPS), MEANING)
        .with("in_flight", CHAIN_IN_FLIGHT)
        .with("payload_bytes", PAYLOAD_BYTES)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, CHAIN_STEPS)
        .figure("stored", against_first(&rates))
        .figure("long", late);
    for site in sites {
        site.stand.stop().await?;
    }
    line.print(context)
}

/// Puts ended runs into the store.
async fn fill(context: &Context, stand: &mut Stand, runs: usize) -> Result<(), CliError> {
    let client = stand.client();
    let nothing = Flow::nothing(&client)?;
    nothing.define(&client).await?;
    let bar = bar(context, runs);
    stand.while_it_runs(Load::of(&nothing, FILL_IN_FLIGHT).submit(&client, runs, &bar)).await?;
    bar.finish_and_clear();
    Ok(())
}

fn against_first(rates: &[(u32, f64)]) -> Value {
    let first = rates.first().map_or(1.0, |(_, rate)| *rate);
    let entry = |(stored, rate): &(u32, f64)| json!({ "runs_stored": stored, "steps_per_s": round(*rate), "against_first": round(rate / first) });
    rates.iter().map(entry).collect()
}

/// Runs the long run, and says how fast it went at its beginning and at its end.
async fn watch(client: &Client, flow: &Flow, steps: u64, bar: &ProgressBar) -> Result<Value, CliError> {
    let request = flow.request(Value::Null);
    let run = patiently(|| client.submit(&request)).await?.run;
    let mut seen = vec![(Instant::now(), 0)];
    loop {
        let view = patiently(|| client.get(run)).await?;
        seen.push((Instant::now(), view.steps_done));
        bar.set_position(view.steps_done);
        if view.state.is_final() {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    bar.finish_and_clear();
    let window = (steps / WINDOWS).max(WINDOW_MIN).min(steps / 2 - WINDOW_FROM);
    let rate = |from: u64, to: u64| Some((to - from) as f64 / (at(&seen, to)? - at(&seen, from)?));
    let (early, late) = (rate(WINDOW_FROM, WINDOW_FROM + window), rate(steps - window, steps));
    let (Some(early), Some(late)) = (early, late) else {
        return Err(CliError::new(format!("run {run} ended before all of its {steps} steps were done")));
    };
    Ok(json!({
        "steps": steps, "window": window, "early_steps_per_s": round(early), "late_steps_per_s": round(late),
        "late_against_early": round(late / early),
    }))
}

/// When this many steps were done, in seconds since the first look; between two looks, evenly.
pub(super) fn at(seen: &[(Instant, u64)], steps: u64) -> Option<f64> {
    let (begun, _) = seen.first()?;
    let index = seen.iter().position(|(_, done)| *done >= steps)?;
    let (time, done) = seen[index];
    let since = |time: Instant| time.duration_since(*begun).as_secs_f64();
    let Some((time_before, done_before)) = index.checked_sub(1).map(|before| seen[before]) else {
        return Some(since(time));
    };
    let part = (steps - done_before) as f64 / (done - done_before) as f64;
    Some(since(time_before) + (since(time) - since(time_before)) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_looks_are_even() {
        let begun = Instant::now();
        let look = |ms: u64, done: u64| (begun + Duration::from_millis(ms), done);
        let seen = [look(0, 0), look(100, 10), look(300, 50)];
        assert_eq!(at(&seen, 10), Some(0.1));
        assert_eq!(at(&seen, 30), Some(0.2));
        assert_eq!(at(&seen, 51), None);
    }
}
