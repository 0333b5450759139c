//! `bench kill`: how much longer runs take when a worker or a coordinator is killed in the middle of them.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use stepmill_protocol::{Client, Millis};

use super::flow::Flow;
use super::line::Line;
use super::load::{Load, Measured};
use super::machinery::{Machinery, Profile};
use super::scale::Owners;
use super::stand::Stand;
use super::times::{Times, round};
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench kill --json
  stepmill bench kill --runs 200 --steps 10 --ms 50 --rounds 5 --json

All runs at a time, of steps that sleep. When two fifths of the undisturbed time have passed, one process is killed (kill -9); \
the others take over. There are slots for all runs on each worker, so that what is measured is the wait for the takeover.";
const MEANING: &str = "undisturbed_s: all runs, nothing killed; worker_beyond_s, coordinator_beyond_s: how much longer it took \
                       when one was killed, as seen by a client that asks again after a second at most; p50_ms and p99_ms: a \
                       run's time undisturbed";
/// When the process is killed, as a part of the undisturbed time.
const KILLED_AT: f64 = 0.4;
/// How long one question for a run's end waits for it.
const LOOK: Millis = Millis(300);
/// How much longer its answer may take. The coordinator that was asked may be the one that is killed.
const CALL_WITHIN: Duration = Duration::from_millis(700);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KillArgs {
    /// Runs, all at a time
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000), value_name = "N")]
    runs: u32,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    /// How long each step sleeps, in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "MS")]
    ms: u32,
    /// How often each process is killed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100), value_name = "N")]
    rounds: u32,
    /// Coordinator processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=16), value_name = "N")]
    coordinators: u16,
    /// Worker processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=16), value_name = "N")]
    workers: u16,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
}

/// The system, and what is run on it again and again.
struct Scene<'a> {
    stand: Stand,
    client: Client,
    owners: Owners,
    load: Load<'a>,
    runs: usize,
    slots: u16,
}

pub(crate) async fn run(context: &Context, args: &KillArgs) -> Result<(), CliError> {
    let (runs, steps) = (args.runs as usize, args.steps as usize);
    let slots = u16::try_from(args.runs).unwrap_or(u16::MAX);
    let mut stand = Stand::start(context, &Machinery::of(0, args.workers, slots, args.profile)).await?;
    let mut owners = Owners::new(context.settings().partitions);
    for _ in 0..args.coordinators {
        owners.add(&mut stand)?;
    }
    let client = stand.client().with_timeout(CALL_WITHIN);
    stand.ready().await?;
    let flow = Flow::sleeping(&client, steps, args.ms)?;
    flow.define(&client).await?;
    let load = Load { look: LOOK, ..Load::of(&flow, runs) };
    let mut scene = Scene { stand, client, owners, load, runs, slots };
    let (mut undisturbed, mut walls) = (Vec::new(), Vec::new());
    scene.drive().await?;
    for _ in 0..args.rounds {
        let measured = scene.drive().await?;
        walls.push(measured.wall);
        undisturbed.extend(measured.times.0);
    }
    let normal = Duration::from_secs_f64(Times(walls).median_s());
    let (mut worker, mut coordinator) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        worker.push(scene.drive_and_kill("worker", normal).await?);
        scene.stand.add_worker(scene.slots)?;
        scene.drive().await?;
        coordinator.push(scene.drive_and_kill("coordinator", normal).await?);
        scene.owners.replace_first(&mut scene.stand)?;
        scene.drive().await?;
    }
    let line = Line::new("kill", scene.stand.facts(), (runs, steps), MEANING)
        .with("ms", args.ms)
        .with("rounds", args.rounds)
        .wall(normal)
        .times(&Times(undisturbed), 1)
        .figure("undisturbed_s", round(normal.as_secs_f64()))
        .figure("worker_beyond_s", beyond(&worker, normal))
        .figure("coordinator_beyond_s", beyond(&coordinator, normal))
        .setting("coordinators", args.coordinators);
    scene.stand.stop().await?;
    line.print(context)
}

impl Scene<'_> {
    async fn drive(&mut self) -> Result<Measured, CliError> {
        self.stand.while_it_runs(self.owners.settled()).await?;
        self.stand.while_it_runs(self.load.drive(&self.client, self.runs, &ProgressBar::hidden())).await
    }

    /// Kills the oldest process of this role in the middle of the runs, and says how long all of them took.
    async fn drive_and_kill(&mut self, role: &str, normal: Duration) -> Result<Duration, CliError> {
        self.stand.while_it_runs(self.owners.settled()).await?;
        let mut victim = self.stand.fleet()?.release(role)?;
        let kill = async {
            tokio::time::sleep(normal.mul_f64(KILLED_AT)).await;
            victim.child.kill().await.map_err(|e| CliError::new(format!("cannot kill a {role}: {e}")))
        };
        let bar = ProgressBar::hidden();
        let both = futures::future::try_join(self.load.drive(&self.client, self.runs, &bar), kill);
        Ok(self.stand.while_it_runs(both).await?.0.wall)
    }
}

/// Median, least and most of the time beyond the normal one, in seconds.
fn beyond(walls: &[Duration], normal: Duration) -> Value {
    let mut extra: Vec<f64> = walls.iter().map(|w| round(w.as_secs_f64() - normal.as_secs_f64())).collect();
    extra.sort_by(f64::total_cmp);
    let median = extra.get(extra.len().saturating_sub(1) / 2);
    json!({ "median": median, "min": extra.first(), "max": extra.last() })
}
