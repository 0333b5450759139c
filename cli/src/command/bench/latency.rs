//! `bench latency`: how long a step takes when nothing else is under way.

use super::chain::{self, Chain};
use super::machinery::Machinery;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench latency --json
  stepmill bench latency --runs 500 --profile always --json
  stepmill bench latency --embedded --json

Runs of no-op steps, one run at a time; the times are those of a run, divided by its steps.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LatencyArgs {
    /// Runs
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Steps of each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    #[command(flatten)]
    machinery: Machinery,
}

const PAYLOAD_BYTES: usize = 256;

pub(crate) async fn run(context: &Context, args: &LatencyArgs) -> Result<(), CliError> {
    let (runs, steps) = (args.runs as usize, args.steps as usize);
    let chain = Chain { runs, steps, in_flight: 1, payload_bytes: PAYLOAD_BYTES };
    chain::measure(context, "latency", chain, &args.machinery).await
}
