//! `terminate`: ends a run at once.

use stepmill_protocol::RunId;

use super::Context;
use super::cancel::show;
use crate::args::{Reach, Reason};
use crate::connect;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill terminate 0198f2c4-7a11-7cc0-8a77-0123456789ab --reason 'it burns'

Nothing is undone, and the runs that its steps wait for end in the same way. `cancel` lets a run undo what it has done.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TerminateArgs {
    /// The run's id
    run: RunId,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: TerminateArgs) -> Result<(), CliError> {
    let answer = connect::client(context.settings()).await?.terminate(args.run, &args.reason.why()).await?;
    show(context.out, &answer, "terminated")
}
