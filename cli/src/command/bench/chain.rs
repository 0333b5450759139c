//! `bench chain`: how fast a chain of no-op steps goes, and what it costs.

use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::machinery::Machinery;
use super::stand::Stand;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench chain --runs 2000 --steps 10 --json
  stepmill bench chain --runs 2000 --steps 10 --profile always --json
  stepmill bench chain --runs 2000 --steps 10 --embedded --json";

pub(crate) const MEANING: &str =
    "p50_ms and p99_ms: a run's time from the call of submit to the answer of result, divided by its steps";

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
    #[command(flatten)]
    machinery: Machinery,
}

/// What a chain is measured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) runs: usize,
    pub(crate) steps: usize,
    pub(crate) in_flight: usize,
    pub(crate) payload_bytes: usize,
}

pub(crate) async fn run(context: &Context, args: &ChainArgs) -> Result<(), CliError> {
    let chain = Chain {
        runs: args.runs as usize,
        steps: args.steps as usize,
        in_flight: args.in_flight as usize,
        payload_bytes: args.payload,
    };
    measure(context, "chain", chain, &args.machinery).await
}

/// Measures one chain on a system of its own.
pub(crate) async fn measure(
    context: &Context,
    name: &str,
    chain: Chain,
    machinery: &Machinery,
) -> Result<(), CliError> {
    let mut stand = Stand::start(context, machinery).await?;
    let flow = Flow::chain(&stand.client(), chain.steps)?;
    let load = Load { payload_bytes: chain.payload_bytes, ..Load::of(&flow, chain.in_flight) };
    let (measured, cost) = load.measure(context, &mut stand, chain.runs).await?;
    let line = Line::new(name, stand.facts(), (chain.runs, chain.steps), MEANING)
        .with("payload_bytes", chain.payload_bytes)
        .with("in_flight", chain.in_flight)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, chain.steps);
    stand.stop().await?;
    line.print(context)
}
