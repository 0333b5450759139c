//! `cancel`: ends a run.

use stepmill_protocol::RunId;
use stepmill_protocol::api::Acknowledged;

use super::Context;
use crate::args::Reach;
use crate::connect;
use crate::error::CliError;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  stepmill cancel 0198f2c4-7a11-7cc0-8a77-0123456789ab --reason 'wrong input'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The run's id
    run: RunId,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: CancelArgs) -> Result<(), CliError> {
    let answer = connect::client(context.settings()).await?.cancel(args.run, &args.reason).await?;
    show(context.out, &answer, "cancelled")
}

/// Says whether an act changed anything. That it did not is no failure: the run is as it was wanted, or has ended.
pub(crate) fn show(out: Output, answer: &Acknowledged, done: &str) -> Result<(), CliError> {
    out.json(answer)?;
    let note = answer.note.as_deref().unwrap_or("it changed nothing");
    out.text(&if answer.applied { format!("run {} {done}", answer.run) } else { format!("run {}: {note}", answer.run) })
}
