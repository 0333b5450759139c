//! `bench submit`: how many submissions are accepted, each answered when it is committed.

use indicatif::ProgressBar;

use super::flow::{Flow, Wait};
use super::line::Line;
use super::load::{Load, bar};
use super::machinery::Machinery;
use super::stand::Stand;
use super::times::round;
use crate::command::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill bench submit --json
  stepmill bench submit --runs 50000 --in-flight 1024 --profile always --json

Request and reply, many in flight. The runs wait for a day, so that nothing else is measured.";
const MEANING: &str = "submissions_per_s: accepted and committed; p50_ms and p99_ms: from the call of submit to its answer; \
                       cpu_s_per_1000_runs: all processes of `roles`";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// Submissions
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    runs: u32,
    /// Submissions in flight at a time
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    in_flight: u32,
    #[command(flatten)]
    machinery: Machinery,
}

pub(crate) async fn run(context: &Context, args: &SubmitArgs) -> Result<(), CliError> {
    let runs = args.runs as usize;
    let mut stand = Stand::start(context, &args.machinery).await?;
    let client = stand.client();
    let flow = Flow::waiting(&client, 0, 0, Wait::Time)?;
    flow.define(&client).await?;
    let load = Load::of(&flow, args.in_flight as usize);
    let warm_up = (runs / 10).clamp(1, 2000);
    stand.while_it_runs(load.submit(&client, warm_up, &ProgressBar::hidden())).await?;
    let bar = bar(context, runs);
    let ((measured, _), cost) = stand.measure(load.submit(&client, runs, &bar)).await?;
    bar.finish_and_clear();
    let cpu: f64 = cost.uses.values().map(|u| u.cpu_s).sum();
    let line = Line::new("submit", stand.facts(), (runs, 0), MEANING)
        .with("in_flight", args.in_flight)
        .cost(cost)
        .wall(measured.wall)
        .times(&measured.times, 1)
        .figure("submissions_per_s", round(runs as f64 / measured.wall.as_secs_f64()))
        .figure("cpu_s_per_1000_runs", round(cpu / runs as f64 * 1000.0));
    stand.stop().await?;
    line.print(context)
}
