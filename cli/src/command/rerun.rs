//! `rerun`: does a failed step again.

use stepmill_protocol::api::RerunRequest;
use stepmill_protocol::{RunId, StepPath};

use super::Context;
use super::cancel::show;
use super::submit::read_value;
use crate::args::{Reach, Reason};
use crate::connect;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill rerun 0198f2c4-7a11-7cc0-8a77-0123456789ab /do/2/charge --reason 'the bank is up again'
  stepmill rerun 0198f2c4-7a11-7cc0-8a77-0123456789ab /do/2/charge --input '{\"amount\":12}'

The run must have failed with that step, or be parked; steps beside it that were under way go on as well. The step gets a new \
idempotency key. A step that waits for its next attempt gets it at once.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RerunArgs {
    /// The run's id
    run: RunId,
    /// The step's path, as `get` and errors show it
    step: String,
    /// What the step gets instead of what it got: JSON, `@FILE`, or `-` for stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// Which of several tokens at the step, by the number that the refusal names
    #[arg(long, value_name = "N")]
    token: Option<u64>,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: RerunArgs) -> Result<(), CliError> {
    let input = args.input.as_deref().map(|given| read_value("--input", given)).transpose()?;
    let step = StepPath(args.step.into());
    let request = RerunRequest { run: args.run, step, token: args.token, input, why: args.reason.why() };
    let answer = connect::client(context.settings()).await?.rerun(&request).await?;
    show(context.out, &answer, "goes on")
}
