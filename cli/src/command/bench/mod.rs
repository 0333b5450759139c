//! `bench`: measures this machine. Each workload prints one line of the same shape; `report` runs all of them and writes a page.

mod chain;
mod depth;
mod fanout;
mod fibonacci;
mod fleet;
mod floor;
mod flow;
mod kill;
mod latency;
mod line;
mod load;
mod loops;
mod machinery;
mod payload;
mod report;
mod scale;
mod stand;
mod start;
mod submit;
mod times;
mod waiting;

use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::error::{CliError, INTERRUPTED};

const EXAMPLES: &str = "\
Examples:
  stepmill bench chain --json          steps per second
  stepmill bench latency --json        time per step
  stepmill bench floor --json          what the servers alone would allow
  stepmill bench report --quick        everything, small, as a page

Without --embedded a workload starts nats-server and redis-server on free ports in a folder of its own, coordinators and \
workers as processes of their own, and stops all of them. It prints one line of JSON with --json.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Runs of no-op steps, one after the other
    Chain(chain::ChainArgs),
    /// One run at a time: how long a step takes
    Latency(latency::LatencyArgs),
    /// Many parallel steps and a join
    Fanout(fanout::FanoutArgs),
    /// Sequential steps that compute a little, one run at a time
    Fibonacci(fibonacci::FibonacciArgs),
    /// A large document through a chain
    Payload(payload::PayloadArgs),
    /// How many submissions are accepted
    Submit(submit::SubmitArgs),
    /// What runs that wait hold in memory
    Waiting(waiting::WaitingArgs),
    /// How much longer runs take when a process is killed
    Kill(kill::KillArgs),
    /// Steps that sleep, with more and more workers
    Scale(scale::ScaleArgs),
    /// Whether a step costs the same with many runs stored, and late in a long run
    Depth(depth::DepthArgs),
    /// Whether a loop costs and holds the same at its end as at its beginning
    Loops(loops::LoopsArgs),
    /// From the start of `stepmill dev` to the end of the first run
    Start(start::StartArgs),
    /// The servers alone, with the streams and settings of the product: two messages and one compare-and-set per step
    Floor(floor::FloorArgs),
    /// The same with plain streams: shows that the loop itself is fast
    FloorBare(floor::FloorArgs),
    /// All of it several times, written down as a page
    Report(report::ReportArgs),
    #[command(hide = true)]
    FloorCoordinator(floor::CoordinatorRole),
    #[command(hide = true)]
    FloorWorker(floor::WorkerRole),
}

pub(crate) async fn run(context: &Context, args: BenchArgs) -> Result<(), CliError> {
    let fail = |e: std::io::Error| CliError::new(format!("cannot listen for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    tokio::select! {
        done = workload(context, args.what) => done,
        // What was started ends with what holds it, as after Ctrl-C.
        _ = terminate.recv() => Err(CliError::silent(INTERRUPTED)),
    }
}

async fn workload(context: &Context, what: What) -> Result<(), CliError> {
    match what {
        What::Chain(args) => chain::run(context, &args).await,
        What::Latency(args) => latency::run(context, &args).await,
        What::Fanout(args) => fanout::run(context, &args).await,
        What::Fibonacci(args) => fibonacci::run(context, &args).await,
        What::Payload(args) => payload::run(context, &args).await,
        What::Submit(args) => submit::run(context, &args).await,
        What::Waiting(args) => waiting::run(context, &args).await,
        What::Kill(args) => kill::run(context, &args).await,
        What::Scale(args) => scale::run(context, &args).await,
        What::Depth(args) => depth::run(context, &args).await,
        What::Loops(args) => loops::run(context, &args).await,
        What::Start(args) => start::run(context, &args).await,
        What::Floor(args) => floor::run(context, &args, stepmill_floor::Variant::Product).await,
        What::FloorBare(args) => floor::run(context, &args, stepmill_floor::Variant::Bare).await,
        What::Report(args) => report::run(context, &args).await,
        What::FloorCoordinator(args) => floor::coordinator(context, args).await,
        What::FloorWorker(args) => floor::worker(context, args).await,
    }
}
