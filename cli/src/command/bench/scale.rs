//! `bench scale`: steps that sleep, with more and more workers; and how evenly coordinators share the partitions.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::machinery::{Machinery, Profile};
use super::stand::{Stand, http_address};
use super::times::round;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench scale --json
  stepmill bench scale --workers 1,2,4,8 --slots 8 --ms 50 --seconds 10 --json

The same work per worker each time, with twice as many runs in flight as there are slots. efficiency: the rate per worker, \
against the rate with the least workers; of_ideal: against slots divided by the time of a sleep.";
const MEANING: &str = "sizes: one entry for each number of workers; p50_ms and p99_ms: a run's time with the most workers, divided \
                       by its steps; steps_per_s and cost: with the most workers; owned: partitions of each coordinator; owned_spread: the most \
                       less the least of them";
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Runs in flight for each slot.
const QUEUED: usize = 2;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScaleArgs {
    /// Numbers of worker processes
    #[arg(long, default_value = "1,2,4,8", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    workers: Vec<u16>,
    /// Slots of each worker
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    slots: u16,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    /// How long each step sleeps, in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "MS")]
    ms: u32,
    /// How long each number of workers is kept busy
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=3600), value_name = "SECONDS")]
    seconds: u32,
    /// Coordinator processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16), value_name = "N")]
    coordinators: u16,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
}

pub(crate) async fn run(context: &Context, args: &ScaleArgs) -> Result<(), CliError> {
    let mut numbers = args.workers.clone();
    numbers.sort_unstable();
    let steps = args.steps as usize;
    let mut stand = Stand::start(context, &Machinery::of(0, 0, args.slots, args.profile)).await?;
    let mut owners = Owners::new(context.settings().partitions);
    for _ in 0..args.coordinators {
        owners.add(&mut stand)?;
    }
    stand.ready().await?;
    let client = stand.client();
    let owned = stand.while_it_runs(owners.settled()).await?;
    let flow = Flow::sleeping(&client, steps, args.ms)?;
    flow.define(&client).await?;
    let (mut running, mut sizes, mut last) = (0, Vec::new(), None);
    for workers in numbers {
        while running < workers {
            stand.add_worker(args.slots)?;
            running += 1;
        }
        let slots = usize::from(workers) * usize::from(args.slots);
        let in_flight = slots * QUEUED;
        let load = Load::of(&flow, in_flight);
        stand.while_it_runs(load.drive(&client, in_flight, &ProgressBar::hidden())).await?;
        // As many whole rounds of what is in flight as fit into the time.
        let round_s = f64::from(args.ms) / 1000.0 * (steps * QUEUED) as f64;
        let runs = in_flight * (f64::from(args.seconds) / round_s).ceil().max(1.0) as usize;
        let (measured, cost) = stand.measure(load.drive(&client, runs, &ProgressBar::hidden())).await?;
        let rate = (runs * steps) as f64 / measured.wall.as_secs_f64();
        sizes.push((workers, rate, rate / (slots as f64 * 1000.0 / f64::from(args.ms))));
        last = Some((runs, measured, cost));
    }
    let Some((runs, measured, cost)) = last else { return Err(CliError::new("no number of workers was given")) };
    let line = Line::new("scale", stand.facts(), (runs, steps), MEANING)
        .with("ms", args.ms)
        .with("seconds", args.seconds)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, steps)
        .figure("sizes", efficiency(&sizes))
        .figure("owned_spread", owned.iter().max().zip(owned.iter().min()).map(|(most, least)| most - least))
        .figure("owned", json!(owned))
        .setting("coordinators", args.coordinators)
        .setting("workers", json!(args.workers));
    stand.stop().await?;
    line.print(context)
}

/// Rates against the first one, per worker.
fn efficiency(sizes: &[(u16, f64, f64)]) -> Value {
    let base = sizes.first().map_or(1.0, |(workers, rate, _)| rate / f64::from(*workers));
    let entry = |(workers, rate, of_ideal): &(u16, f64, f64)| {
        json!({
            "workers": workers, "steps_per_s": round(*rate), "of_ideal": round(*of_ideal),
            "efficiency": round(rate / f64::from(*workers) / base),
        })
    };
    sizes.iter().map(entry).collect()
}

/// Coordinators that say over HTTP how many partitions they own.
pub(crate) struct Owners {
    partitions: u16,
    addresses: Vec<String>,
    http: reqwest::Client,
}

impl Owners {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { partitions, addresses: Vec::new(), http: reqwest::Client::new() }
    }

    /// Starts one more.
    pub(crate) fn add(&mut self, stand: &mut Stand) -> Result<(), CliError> {
        let address = http_address()?;
        stand.add_coordinator(self.partitions, &address)?;
        self.addresses.push(address);
        Ok(())
    }

    /// The oldest one is gone: starts another.
    pub(crate) fn replace_first(&mut self, stand: &mut Stand) -> Result<(), CliError> {
        self.addresses.remove(0);
        self.add(stand)
    }

    /// Waits until each partition has an owner and none has two more than another; how many each has.
    pub(crate) async fn settled(&self) -> Result<Vec<usize>, CliError> {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let mut owned = Vec::new();
            for address in &self.addresses {
                owned.push(self.owned(address).await);
            }
            let spread = owned.iter().max().zip(owned.iter().min()).map_or(0, |(most, least)| most - least);
            if owned.iter().sum::<usize>() == usize::from(self.partitions) && spread <= 1 {
                return Ok(owned);
            }
            if Instant::now() > until {
                let text = format!("the coordinators do not share the partitions evenly: they own {owned:?}");
                return Err(CliError::new(text));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// None while it does not answer.
    async fn owned(&self, address: &str) -> usize {
        let ask = async { self.http.get(format!("http://{address}/ready")).send().await?.text().await };
        let text = ask.await.unwrap_or_default();
        text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_is_the_rate_per_worker_against_the_first() {
        let shown = efficiency(&[(2, 200.0, 1.0), (4, 300.0, 0.75)]);
        assert_eq!(shown[0]["efficiency"], 1.0);
        assert_eq!(shown[1]["efficiency"], 0.75);
    }
}
