//! `bench floor` and `bench floor-bare`: the servers alone. The loop is in `stepmill-floor`; here its two processes are started,
//! told what to run over a pipe, and measured.

use std::num::NonZeroUsize;
use std::time::Duration;

use stepmill_floor::{Coordinator, FloorError, Load, Outcome, Variant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use super::fleet::Fleet;
use super::line::Line;
use super::machinery::Profile;
use super::stand::{Facts, temporary};
use super::times::{Times, round};
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench floor --json
  stepmill bench floor --profile always --json
  stepmill bench floor --runs 300 --in-flight 1 --json           one run at a time
  stepmill bench floor --runs 10000 --steps 1 --in-flight 1000 --json
  stepmill bench floor-bare --json

A coordinator and worker processes that do nothing else than two JetStream messages with acks and one Redis compare-and-set \
per step. `floor` has the streams, message ids, consumers, worker processes and slots of the product, `floor-bare` plain ones \
and one worker that takes whatever comes.";
const MEANING: &str = "p50_ms and p99_ms: a run's time from its first task to its last commit, divided by its steps";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FloorArgs {
    /// Runs
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    steps: u32,
    /// Runs in flight at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    in_flight: u32,
    /// Bytes that each task and each result carries
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    payload: usize,
    /// When Redis syncs its file to the disk
    #[arg(long, value_enum, default_value_t = Profile::Everysec)]
    profile: Profile,
    /// Worker processes [default: 2 as with the product, 1 of the plain loop]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    workers: Option<u16>,
    /// Slots of each worker, 0 for as many as come [default: 64 as with the product, 0 of the plain loop]
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=10_000), value_name = "N")]
    slots: Option<u16>,
}

impl FloorArgs {
    /// Worker processes, and slots of each.
    fn workers(&self, variant: Variant) -> (u16, u16) {
        let (workers, slots) = match variant {
            Variant::Product => (2, 64),
            Variant::Bare => (1, 0),
        };
        (self.workers.unwrap_or(workers), self.slots.unwrap_or(slots))
    }
}

/// The coordinator process of the floor.
#[derive(Debug, clap::Args)]
pub(crate) struct CoordinatorRole {
    #[arg(long)]
    nats: String,
    #[arg(long)]
    redis: String,
    #[arg(long)]
    variant: String,
}

/// The worker process of the floor.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerRole {
    #[arg(long)]
    nats: String,
    #[arg(long)]
    variant: String,
    #[arg(long)]
    slots: usize,
}

pub(crate) async fn run(context: &Context, args: &FloorArgs, variant: Variant) -> Result<(), CliError> {
    let dir = temporary()?;
    let sync = args.profile.sync();
    let mut fleet = Fleet::start(dir.path(), sync).await?;
    let (nats, redis) = (fleet.nats_url().to_owned(), fleet.redis_url().to_owned());
    let name = variant.as_str();
    let to = ["bench", "floor-coordinator", "--nats", &nats, "--redis", &redis, "--variant", name];
    let mut talk = Talk::with(fleet.spawn_piped("coordinator", &to)?)?;
    fleet.while_all_run(talk.ready()).await?;
    let (workers, slots) = args.workers(variant);
    let each = slots.to_string();
    let work = ["bench", "floor-worker", "--nats", &nats, "--variant", name, "--slots", &each];
    let mut talks = Vec::new();
    for _ in 0..workers {
        let mut worker = Talk::with(fleet.spawn_piped("worker", &work)?)?;
        fleet.while_all_run(worker.ready()).await?;
        talks.push(worker);
    }
    let load = Load { runs: args.runs, steps: args.steps, in_flight: args.in_flight, payload_bytes: args.payload };
    fleet.while_all_run(talk.run(Load { runs: (args.runs / 10).clamp(1, 200), ..load })).await?;
    let meter = fleet.meter();
    let (outcome, cost) = fleet.while_all_run(meter.measure(talk.run(load))).await?;
    let facts = Facts {
        adapters: "none",
        profile: sync.as_str(),
        versions: serde_json::json!({ "stepmill": env!("CARGO_PKG_VERSION"), "servers": fleet.versions() }),
        settings: variant.settings(),
    };
    let times = Times(outcome.durations_us.iter().copied().map(Duration::from_micros).collect());
    let wall = Duration::from_micros(outcome.wall_us);
    let (runs, steps) = (args.runs as usize, args.steps as usize);
    let megabytes = (runs * steps * args.payload) as f64 / 1e6;
    let line = Line::new(name, facts, (runs, steps), MEANING)
        .with("payload_bytes", args.payload)
        .with("in_flight", args.in_flight)
        .cost(cost)
        .wall(wall)
        .times(&times, steps)
        .figure("mb_per_s", round(megabytes / wall.as_secs_f64()))
        .setting("workers", workers)
        .setting("slots_per_worker", slots)
        .setting("redis_appendfsync", sync.as_str())
        .setting("nats_sync_interval", "2m (default)");
    drop((talk, talks));
    fleet.stop().await;
    line.print(context)
}

/// A role on the other end of two pipes: one line in, one line out. It ends when its stdin does.
struct Talk {
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn with(child: &mut tokio::process::Child) -> Result<Self, CliError> {
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| CliError::new("a process of the floor has no pipes"))?;
        Ok(Self { to, from: BufReader::new(from).lines() })
    }

    async fn ready(&mut self) -> Result<(), CliError> {
        self.answer().await.map(drop)
    }

    async fn run(&mut self, load: Load) -> Result<Outcome, CliError> {
        let line = serde_json::to_string(&load).map_err(|e| CliError::new(e.to_string()))?;
        let sent = self.to.write_all(format!("{line}\n").as_bytes()).await;
        sent.map_err(|e| CliError::new(format!("the floor's coordinator does not listen: {e}")))?;
        let answer = self.answer().await?;
        serde_json::from_str(&answer)
            .map_err(|e| CliError::new(format!("the floor's coordinator said {answer:?}: {e}")))
    }

    async fn answer(&mut self) -> Result<String, CliError> {
        let line = self.from.next_line().await.ok().flatten();
        // Whoever watches the processes says why.
        line.ok_or_else(|| CliError::new("a process of the floor ended before it answered"))
    }
}

/// Runs loads until stdin ends.
pub(crate) async fn coordinator(context: &Context, args: CoordinatorRole) -> Result<(), CliError> {
    let out = context.out;
    alone(async move {
        let mut coordinator =
            Coordinator::open(&args.nats, &args.redis, variant(&args.variant)?).await.map_err(failed)?;
        out.raw(b"ready\n")?;
        let mut lines = stdin_lines();
        while let Some(line) = lines.recv().await {
            let load: Load = serde_json::from_str(&line).map_err(|e| CliError::new(e.to_string()))?;
            let outcome = coordinator.run(load).await.map_err(failed)?;
            let mut answer = serde_json::to_vec(&outcome).map_err(|e| CliError::new(e.to_string()))?;
            answer.push(b'\n');
            out.raw(&answer)?;
        }
        Ok(())
    })
    .await
}

/// Works until stdin ends.
pub(crate) async fn worker(context: &Context, args: WorkerRole) -> Result<(), CliError> {
    let out = context.out;
    alone(async move {
        let variant = variant(&args.variant)?;
        let mut lines = stdin_lines();
        out.raw(b"ready\n")?;
        tokio::select! {
            ended = stepmill_floor::work(&args.nats, variant, NonZeroUsize::new(args.slots)) => ended.map_err(failed),
            _ = lines.recv() => Ok(()),
        }
    })
    .await
}

/// What comes on stdin; a read of it cannot be called off, so it has a thread of its own.
fn stdin_lines() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// On a thread of its own: one thread per process is what the loop needs least time with.
async fn alone(work: impl Future<Output = Result<(), CliError>> + Send + 'static) -> Result<(), CliError> {
    let (sender, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => runtime.block_on(work),
            Err(e) => Err(CliError::new(format!("cannot start a runtime: {e}"))),
        };
        // Nobody waits any more when the process was told to end.
        let _ = sender.send(done);
    });
    ended.await.unwrap_or_else(|_| Err(CliError::new("the loop broke down")))
}

fn variant(name: &str) -> Result<Variant, CliError> {
    Variant::parse(name).ok_or_else(|| CliError::usage(format!("there is no loop `{name}`"), "floor or floor-bare"))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: FloorError) -> CliError {
    CliError::new(error.to_string())
}
