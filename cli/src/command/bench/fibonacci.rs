//! `bench fibonacci`: sequential steps that compute a little, one run at a time.

use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::machinery::Machinery;
use super::stand::Stand;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench fibonacci --json
  stepmill bench fibonacci --steps 40 --runs 50 --json

Each step computes fibonacci(10). One run at a time; the times are those of a whole run.";
const MEANING: &str = "p50_ms and p99_ms: a whole run, from the call of submit to the answer of result";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FibonacciArgs {
    /// Steps of each run
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    steps: u32,
    /// Runs, one after the other
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    #[command(flatten)]
    machinery: Machinery,
}

pub(crate) async fn run(context: &Context, args: &FibonacciArgs) -> Result<(), CliError> {
    let (steps, runs) = (args.steps as usize, args.runs as usize);
    let mut stand = Stand::start(context, &args.machinery).await?;
    let flow = Flow::fibonacci(&stand.client(), steps)?;
    let load = Load::of(&flow, 1);
    let (measured, cost) = load.measure(context, &mut stand, runs).await?;
    let line = Line::new("fibonacci", stand.facts(), (runs, steps), MEANING)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, 1);
    stand.stop().await?;
    line.print(context)
}
