//! `resume`: lets go on what was paused.

use stepmill_protocol::api::HoldRequest;
use stepmill_protocol::{PoolName, RunId, WorkflowName};

use super::Context;
use super::cancel::show;
use super::pause::show_many;
use crate::args::{Reach, Reason};
use crate::connect;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill resume 0198f2c4-7a11-7cc0-8a77-0123456789ab
  stepmill resume --workflow support-ticket
  stepmill resume --pool llm
  stepmill resume --all                every workflow of the namespace

A run that was parked goes on where it was, too. What was paused twice, for instance a run and its workflow, goes on when both \
are resumed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResumeArgs {
    /// The run's id
    #[arg(required_unless_present_any = ["workflow", "pool", "all"], conflicts_with_all = ["workflow", "pool", "all"])]
    run: Option<RunId>,
    /// All runs of this workflow
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pool", "all"])]
    workflow: Option<WorkflowName>,
    /// All tasks of this pool
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pool: Option<PoolName>,
    /// All runs of the namespace
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: ResumeArgs) -> Result<(), CliError> {
    let client = connect::client(context.settings()).await?;
    let ResumeArgs { run, workflow, pool, reason, .. } = args;
    match run {
        Some(run) => show(context.out, &client.resume(run, &reason.why()).await?, "goes on"),
        None => {
            let request = HoldRequest { workflow, pool, why: reason.why() };
            show_many(context.out, &client.release(&request).await?, "goes on")
        }
    }
}
