//! `list`: runs, newest first, a page at a time.

use stepmill_protocol::api::{ListRequest, RunState};
use stepmill_protocol::{Timestamp, WorkflowName, limit};

use super::Context;
use crate::args::Reach;
use crate::error::CliError;
use crate::{connect, render, when};

const EXAMPLES: &str = "\
Examples:
  stepmill list
  stepmill list --state faulted --from 2h
  stepmill list --workflow support-ticket --from 2026-11-01 --to 2026-11-08 --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// Only in this state
    #[arg(long, value_parser = state_parser(), value_name = "STATE")]
    state: Option<RunState>,
    /// Only of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<WorkflowName>,
    /// Only submitted at or after this: a time, a date, or how long ago (`90m`, `2d`)
    #[arg(long, value_parser = when::parse, value_name = "WHEN")]
    from: Option<Timestamp>,
    /// Only submitted before this
    #[arg(long, value_parser = when::parse, value_name = "WHEN")]
    to: Option<Timestamp>,
    /// Rows at most
    #[arg(long, default_value_t = 50, value_parser = limit_parser, value_name = "N")]
    limit: usize,
    /// Where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = RunState> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(RunState::ALL.map(RunState::as_str))
        .map(|word| RunState::ALL.into_iter().find(|s| s.as_str() == word).unwrap_or(RunState::Running))
}

fn limit_parser(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if (1..=limit::LIST_PAGE_MAX).contains(&rows) => Ok(rows),
        Ok(_) | Err(_) => Err(format!("a number from 1 to {} is expected", limit::LIST_PAGE_MAX)),
    }
}

pub(crate) async fn run(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let out = context.out;
    let client = connect::client(context.settings()).await?;
    let request = ListRequest {
        workflow: args.workflow,
        state: args.state,
        from: args.from,
        to: args.to,
        limit: Some(args.limit),
        cursor: args.cursor,
    };
    let page = client.list(&request).await?;
    out.json(&page)?;
    if page.runs.is_empty() {
        out.note("no runs");
        return Ok(());
    }
    out.text(&render::run_list(&page.runs))?;
    if let Some(next) = &page.next {
        out.note(&format!("more: repeat with --cursor {next}"));
    }
    Ok(())
}
