//! `watch`: follows a run step by step until it ends.

use serde_json::json;
use stepmill_protocol::RunId;
use stepmill_protocol::api::RunState;

use super::Context;
use crate::args::Reach;
use crate::error::{CliError, FAILED};
use crate::{connect, follow, render};

const EXAMPLES: &str = "\
Examples:
  stepmill watch 0198f2c4-7a11-7cc0-8a77-0123456789ab
  stepmill watch 0198f2c4-7a11-7cc0-8a77-0123456789ab --json
  stepmill watch 0198f2c4-7a11-7cc0-8a77-0123456789ab --events
  stepmill watch 0198f2c4-7a11-7cc0-8a77-0123456789ab --events --json | jq -r .type

With --json: one line per event, and the run at its end. With --events --json: one CloudEvent per line and nothing else.
The exit code is 0 when the run completes and 1 when it ends in any other way.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The run's id
    run: RunId,
    /// Show the standard's life-cycle events, from the run's beginning on, instead of what the log holds
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: WatchArgs) -> Result<(), CliError> {
    let out = context.out;
    let client = connect::client(context.settings()).await?;
    let view = if args.events {
        follow::follow_events(&client, out, args.run).await?
    } else {
        let view = follow::follow(&client, out, args.run).await?;
        out.json(&json!({ "run": view }))?;
        view
    };
    out.text("")?;
    out.text(&render::run_view(&view))?;
    if view.state == RunState::Completed { Ok(()) } else { Err(CliError::silent(FAILED)) }
}
