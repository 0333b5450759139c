//! `pause`: lets nothing new begin, of a run or of many; says what is paused.

use stepmill_protocol::api::{HoldRequest, HoldResponse};
use stepmill_protocol::{Hold, PoolName, RunId, WorkflowName};

use super::Context;
use super::cancel::show;
use crate::args::{Reach, Reason};
use crate::error::CliError;
use crate::output::{Output, table};
use crate::{connect, when};

const EXAMPLES: &str = "\
Examples:
  stepmill pause 0198f2c4-7a11-7cc0-8a77-0123456789ab --reason 'look at it first'
  stepmill pause --workflow support-ticket --reason 'the shop is down'
  stepmill pause --pool llm
  stepmill pause --all                 every workflow of the namespace
  stepmill pause --list                what is paused, by whom and why

What workers are at is finished and heard; waits go on. Timeouts of a paused run stand still; where a workflow, a pool or the \
namespace is paused only tasks are held back, and timeouts go on.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PauseArgs {
    /// The run's id
    #[arg(required_unless_present_any = ["workflow", "pool", "all", "list"], conflicts_with_all = ["workflow", "pool", "all"])]
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
    /// Show what is paused
    #[arg(long, conflicts_with_all = ["run", "workflow", "pool", "all", "reason", "by"])]
    list: bool,
    #[command(flatten)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: PauseArgs) -> Result<(), CliError> {
    let (out, client) = (context.out, connect::client(context.settings()).await?);
    if args.list {
        let answer = client.holds().await?;
        out.json(&answer)?;
        return if answer.holds.is_empty() { out.text("nothing is paused") } else { out.text(&list(&answer.holds)) };
    }
    let PauseArgs { run, workflow, pool, reason, .. } = args;
    match run {
        Some(run) => show(out, &client.pause(run, &reason.why()).await?, "paused"),
        None => {
            let request = HoldRequest { workflow, pool, why: reason.why() };
            show_many(out, &client.hold(&request).await?, "paused")
        }
    }
}

pub(super) fn show_many(out: Output, answer: &HoldResponse, done: &str) -> Result<(), CliError> {
    out.json(answer)?;
    let note = answer.note.as_deref().unwrap_or("it changed nothing");
    out.text(&if answer.applied { format!("{} {done}", answer.scope.text()) } else { note.to_owned() })
}

fn list(holds: &[Hold]) -> String {
    let mut shown = table(&["paused", "since", "by", "why"]);
    for hold in holds {
        shown.add_row([hold.scope.text(), when::date_time(hold.at), hold.by.clone(), hold.reason.clone()]);
    }
    shown.trim_fmt()
}
