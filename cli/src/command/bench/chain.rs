//! `bench chain`: how fast a chain of no-op steps goes, and what it costs.

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use stepmill_protocol::Client;
use stepmill_protocol::api::ListRequest;
use tokio::time::Instant;

use super::fleet::{self, Fleet, Size, Uses};
use super::load::{self, Chain, Measured};
use crate::assemble::{self, Storage};
use crate::command::Context;
use crate::config::Settings;
use crate::connect;
use crate::error::CliError;
use crate::follow::patiently;
use crate::output::table;
use crate::servers::Sync;

const READY_WITHIN: Duration = Duration::from_secs(30);
const EXAMPLES: &str = "\
Examples:
  stepmill bench chain --runs 2000 --steps 10 --json
  stepmill bench chain --runs 2000 --steps 10 --profile always --json
  stepmill bench chain --runs 2000 --steps 10 --embedded --json

Without --embedded it starts nats-server and redis-server on free ports in a folder of its own, coordinators and workers \
as processes of their own, and stops all of them.";

/// When Redis syncs its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Profile {
    /// Once a second
    Everysec,
    /// Before it answers
    Always,
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChainArgs {
    /// Runs
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    /// Runs in flight at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    in_flight: u32,
    /// Bytes of text in each run's input, which every step takes and gives
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    payload: usize,
    /// Coordinator processes
    #[arg(long, default_value_t = 1, value_name = "N")]
    coordinators: usize,
    /// Worker processes
    #[arg(long, default_value_t = 2, value_name = "N")]
    workers: usize,
    /// Slots of each worker
    #[arg(long, default_value_t = 64, value_name = "N")]
    slots: usize,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec, conflicts_with = "embedded")]
    profile: Profile,
    /// Everything in this process, on the embedded adapters in a file
    #[arg(long)]
    embedded: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    steps_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_s_per_1000_steps: f64,
    peak_rss_mb: f64,
    workload: serde_json::Value,
    adapters: &'static str,
    runs: usize,
    steps: usize,
    wall_s: f64,
    meaning: &'static str,
    roles: Uses,
    versions: serde_json::Value,
    settings: serde_json::Value,
}

const MEANING: &str = "p50_ms and p99_ms: a run's time from the call of submit to the answer of result, divided by its steps; \
                       cpu: all processes of `roles`, the client included; peak_rss_mb: the sum over all processes \
                       (in `roles`: the largest process)";

pub(crate) async fn run(context: &Context, args: ChainArgs) -> Result<(), CliError> {
    let dir = tempfile::Builder::new().prefix("stepmill-bench-").tempdir();
    let dir = dir.map_err(|e| CliError::new(format!("cannot make a folder for the bench: {e}")))?;
    let report = match args.embedded {
        true => embedded(context, &args, dir.path()).await?,
        false => servers(context, &args, dir.path()).await?,
    };
    context.out.json(&report)?;
    let mut shown = table(&[]);
    shown.add_row(["steps per second", &format!("{:.0}", report.steps_per_s)]);
    shown.add_row(["time per step, median", &format!("{:.2} ms", report.p50_ms)]);
    shown.add_row(["time per step, 99 of 100", &format!("{:.2} ms", report.p99_ms)]);
    shown.add_row(["CPU per 1000 steps", &format!("{:.3} s", report.cpu_s_per_1000_steps)]);
    shown.add_row(["peak memory, all processes", &format!("{:.0} MiB", report.peak_rss_mb)]);
    for (role, used) in &report.roles {
        let text = format!("{} process(es), {:.2} s CPU, {:.0} MiB", used.processes, used.cpu_s, used.peak_rss_mb);
        shown.add_row([&format!("  {role}"), &text]);
    }
    context.out.text(&shown.trim_fmt())
}

impl ChainArgs {
    const fn chain(&self) -> Chain {
        Chain {
            runs: self.runs as usize,
            steps: self.steps as usize,
            in_flight: self.in_flight as usize,
            payload_bytes: self.payload,
        }
    }
}

async fn servers(context: &Context, args: &ChainArgs, dir: &Path) -> Result<Report, CliError> {
    let size = Size { coordinators: args.coordinators.max(1), workers: args.workers.max(1), slots: args.slots.max(1) };
    let sync = if args.profile == Profile::Always { Sync::Always } else { Sync::EverySecond };
    let mut fleet = Fleet::start(dir, size, sync).await?;
    let settings = Settings { nats_url: fleet.nats_url().to_owned(), api_url: None, ..context.settings().clone() };
    let client = connect::client(&settings).await?;
    await_ready(&client, &mut fleet, dir).await?;
    let measured = measure(context, &client, args.chain(), || fleet.used()).await;
    fleet.check(dir)?;
    let (measured, uses) = measured?;
    let versions = json!({ "stepmill": env!("CARGO_PKG_VERSION"), "servers": fleet.versions() });
    let settings = json!({
        "redis_appendfsync": sync.as_str(), "nats_sync_interval": "2m (default)", "nats_replicas": 1,
        "coordinators": size.coordinators, "workers": size.workers, "slots_per_worker": size.slots,
        "partitions": settings.partitions,
    });
    fleet.stop().await;
    Ok(report(args.chain(), "nats+redis", &measured, uses, versions, settings))
}

async fn embedded(context: &Context, args: &ChainArgs, dir: &Path) -> Result<Report, CliError> {
    let settings = context.settings();
    let storage = Storage::File(dir.join("bench.redb"));
    let system = assemble::embedded(&storage, Some(settings.partitions), None).await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let pools = vec![stepmill_protocol::PoolName::new("default").map_err(|e| CliError::new(e.to_string()))?];
    let worker = Settings { slots: args.slots.max(1) * args.workers.max(1), pools, ..settings.clone() };
    let workers = assemble::workers(&system.link, &worker, assemble::Steps::Probe, stop.clone())?;
    let client = system.client(settings);
    let used = || fleet::sum([("stepmill", Some(std::process::id()))].into_iter());
    let (measured, uses) = measure(context, &client, args.chain(), used).await?;
    stop.cancel();
    workers.wait().await?;
    system.running.drain().await;
    let versions = json!({ "stepmill": env!("CARGO_PKG_VERSION") });
    let settings = json!({ "storage": "file", "slots": worker.slots, "partitions": settings.partitions });
    Ok(report(args.chain(), "embedded", &measured, uses, versions, settings))
}

/// Registers the workflow, warms up, and measures. The second answer is what was used meanwhile.
async fn measure(
    context: &Context,
    client: &Client,
    chain: Chain,
    used: impl Fn() -> Uses,
) -> Result<(Measured, Uses), CliError> {
    let source = load::definition(client.namespace().as_str(), chain.steps);
    patiently(|| client.define(&source)).await?;
    load::drive(client, chain, (chain.runs / 10).clamp(1, 200), &ProgressBar::hidden()).await?;
    let bar = if context.out.draws() { ProgressBar::new(chain.runs as u64) } else { ProgressBar::hidden() };
    let before = used();
    let measured = load::drive(client, chain, chain.runs, &bar).await?;
    let uses = fleet::between(&before, used());
    bar.finish_and_clear();
    Ok((measured, uses))
}

/// The coordinators answer.
async fn await_ready(client: &Client, fleet: &mut Fleet, dir: &Path) -> Result<(), CliError> {
    let until = Instant::now() + READY_WITHIN;
    let client = client.clone().with_timeout(Duration::from_secs(1));
    loop {
        fleet.check(dir)?;
        match client.list(&ListRequest::default()).await {
            Ok(_) => return Ok(()),
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(problem) => return Err(problem.into()),
        }
    }
}

fn report(
    chain: Chain,
    adapters: &'static str,
    measured: &Measured,
    roles: Uses,
    versions: serde_json::Value,
    settings: serde_json::Value,
) -> Report {
    let steps = (chain.runs * chain.steps) as f64;
    let wall_s = measured.wall.as_secs_f64();
    let cpu: f64 = roles.values().map(|u| u.cpu_s).sum();
    let memory: f64 = roles.values().map(|u| u.peak_rss_sum_mb).sum();
    let round = |x: f64| (x * 1000.0).round() / 1000.0;
    Report {
        steps_per_s: round(steps / wall_s),
        p50_ms: round(measured.step_ms(0.50, chain.steps)),
        p99_ms: round(measured.step_ms(0.99, chain.steps)),
        cpu_s_per_1000_steps: round(cpu / steps * 1000.0),
        peak_rss_mb: round(memory),
        workload: json!({ "name": "chain", "payload_bytes": chain.payload_bytes, "in_flight": chain.in_flight }),
        adapters,
        runs: chain.runs,
        steps: chain.steps,
        wall_s: round(wall_s),
        meaning: MEANING,
        roles,
        versions,
        settings,
    }
}
