//! `bench fanout`: many no-op steps side by side, and a join.

use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::machinery::Machinery;
use super::stand::Stand;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench fanout --json
  stepmill bench fanout --width 5000 --runs 5 --json

One run at a time; the times are those of a whole run: a `for` with this many items, all at a time.";
const MEANING: &str = "p50_ms and p99_ms: a whole run, from the call of submit to the answer of result";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FanoutArgs {
    /// Parallel steps
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    width: u32,
    /// Runs, one after the other
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    #[command(flatten)]
    machinery: Machinery,
}

pub(crate) async fn run(context: &Context, args: &FanoutArgs) -> Result<(), CliError> {
    let (width, runs) = (args.width as usize, args.runs as usize);
    let mut stand = Stand::start(context, &args.machinery).await?;
    let flow = Flow::fanout(&stand.client(), width)?;
    let load = Load::of(&flow, 1);
    let (measured, cost) = load.measure(context, &mut stand, runs).await?;
    let line = Line::new("fanout", stand.facts(), (runs, width), MEANING)
        .with("width", width)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, 1);
    stand.stop().await?;
    line.print(context)
}
