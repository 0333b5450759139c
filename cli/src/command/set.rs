//! `set`: says what a step gave.

use stepmill_protocol::api::OutputRequest;
use stepmill_protocol::{RunId, StepPath};

use super::Context;
use super::cancel::show;
use super::submit::read_value;
use crate::args::{Reach, Reason};
use crate::connect;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill set 0198f2c4-7a11-7cc0-8a77-0123456789ab /do/2/charge '{\"receipt\":\"r-7\"}' --reason 'charged by phone'
  stepmill set 0198f2c4-7a11-7cc0-8a77-0123456789ab /do/2/charge @result.json

The step waits, or has failed and ended the run. What is given counts as the report of a worker: it goes through `output` and \
`export`.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetArgs {
    /// The run's id
    run: RunId,
    /// The step's path, as `get` and errors show it
    step: String,
    /// What it gave: JSON, `@FILE`, or `-` for stdin
    #[arg(value_name = "JSON|@FILE|-")]
    output: String,
    /// Which of several tokens at the step, by the number that the refusal names
    #[arg(long, value_name = "N")]
    token: Option<u64>,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: SetArgs) -> Result<(), CliError> {
    let output = read_value("OUTPUT", &args.output)?;
    let step = StepPath(args.step.into());
    let request = OutputRequest { run: args.run, step, token: args.token, output, why: args.reason.why() };
    let answer = connect::client(context.settings()).await?.set(&request).await?;
    show(context.out, &answer, "goes on")
}
