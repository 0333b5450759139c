//! `bench payload`: a large document through a chain, one run at a time and many at a time.

use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::machinery::Machinery;
use super::stand::Stand;
use super::times::round;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench payload --json
  stepmill bench payload --bytes 500000 --runs 50 --json

Each step takes the document and gives it back. First one run at a time (p50_ms, p99_ms of a whole run), then many \
(mb_per_s: a million bytes of document through one step, per second).";
const MEANING: &str = "p50_ms and p99_ms: a whole run, from the call of submit to the answer of result, one at a time; \
                       mb_per_s, steps_per_s and cost: the batch with `in_flight` runs at a time";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PayloadArgs {
    /// Bytes of the document
    #[arg(long, default_value_t = 102_400, value_parser = clap::value_parser!(u32).range(..=700_000), value_name = "N")]
    bytes: u32,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    /// Runs one at a time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Runs of the batch
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    batch: u32,
    /// Runs of the batch in flight at a time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    in_flight: u32,
    #[command(flatten)]
    machinery: Machinery,
}

pub(crate) async fn run(context: &Context, args: &PayloadArgs) -> Result<(), CliError> {
    let (steps, payload_bytes, batch) = (args.steps as usize, args.bytes as usize, args.batch as usize);
    let mut stand = Stand::start(context, &args.machinery).await?;
    let flow = Flow::chain(&stand.client(), steps)?;
    let single = Load { payload_bytes, ..Load::of(&flow, 1) };
    let (alone, _) = single.measure(context, &mut stand, args.runs as usize).await?;
    let many = Load { in_flight: args.in_flight as usize, ..single };
    let (together, cost) = many.measure(context, &mut stand, batch).await?;
    let megabytes = (batch * steps * payload_bytes) as f64 / 1e6;
    let line = Line::new("payload", stand.facts(), (batch, steps), MEANING)
        .with("payload_bytes", payload_bytes)
        .with("in_flight", args.in_flight)
        .with("runs_one_at_a_time", args.runs)
        .cost(cost)
        .wall(together.wall)
        .times(&alone.times, 1)
        .figure("mb_per_s", round(megabytes / together.wall.as_secs_f64()));
    stand.stop().await?;
    line.print(context)
}
