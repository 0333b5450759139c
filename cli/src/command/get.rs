//! `get`: shows a run.

use stepmill_protocol::RunId;

use super::Context;
use crate::args::Reach;
use crate::error::CliError;
use crate::{connect, render};

const EXAMPLES: &str = "\
Examples:
  stepmill get 0198f2c4-7a11-7cc0-8a77-0123456789ab
  stepmill get 0198f2c4-7a11-7cc0-8a77-0123456789ab --json | jq .output";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// The run's id
    run: RunId,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: GetArgs) -> Result<(), CliError> {
    let view = connect::client(context.settings()).await?.get(args.run).await?;
    context.out.json(&view)?;
    context.out.text(&render::run_view(&view))
}
