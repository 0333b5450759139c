//! `submit`: starts a run, and waits for it or follows it where that is wanted.

use std::io::Read as _;

use serde_json::Value;
use stepmill_protocol::api::SubmitRequest;
use stepmill_protocol::{Version, WorkflowName};

use super::Context;
use crate::args::Reach;
use crate::error::{CliError, read_file};
use crate::{connect, follow, render};

const EXAMPLES: &str = "\
Examples:
  stepmill submit support-ticket --input '{\"id\":\"t-1\",\"text\":\"Where is my order?\"}'
  stepmill submit support-ticket --input @ticket.json --wait
  cat ticket.json | stepmill submit support-ticket --input - --key t-1 --follow

With --key the same submission can be repeated safely: all of them are one run.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// The workflow's name
    workflow: WorkflowName,
    /// What it runs on: JSON, `@FILE`, or `-` for stdin
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "null", hide_default_value = true)]
    input: String,
    /// Idempotency key: submissions with the same key are one run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The definition's version [default: the newest]
    #[arg(long, value_name = "VERSION")]
    workflow_version: Option<String>,
    /// Wait for the run's end and print its output
    #[arg(long)]
    wait: bool,
    /// Show what happens, then print the output
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: SubmitArgs) -> Result<(), CliError> {
    let out = context.out;
    let input = read_value("--input", &args.input)?;
    let client = connect::client(context.settings()).await?;
    let version = args.workflow_version.map(Version);
    let request = SubmitRequest { workflow: args.workflow, version, input, key: args.key };
    let answer = client.submit(&request).await?;
    let run = answer.run;
    if args.follow || args.wait {
        let again = if answer.created { "" } else { " (it existed already)" };
        out.note(&format!("run {run}{again}"));
        let view =
            if args.follow { follow::follow(&client, out, run).await? } else { follow::wait(&client, run).await? };
        return render::finish(out, &view);
    }
    out.json(&answer)?;
    out.text(&run.to_string())?;
    if !answer.created {
        out.note("a run with this key existed already; nothing was started");
    }
    out.note(&format!("follow it: stepmill watch {run}"));
    Ok(())
}

/// Reads a JSON value from the argument itself, a file or stdin.
pub(crate) fn read_value(flag: &str, given: &str) -> Result<Value, CliError> {
    let (name, text) = match given.strip_prefix('@') {
        Some(path) => (path.to_owned(), read_file(std::path::Path::new(path))?),
        None if given == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| {
                CliError::usage(format!("cannot read stdin: {e}"), "pipe UTF-8 text in, or use `@FILE`")
            })?;
            ("stdin".to_owned(), text)
        }
        None => (flag.to_owned(), given.to_owned()),
    };
    serde_json::from_str(&text).map_err(|e| {
        let help = "give JSON (a text needs double quotes inside the shell's single ones: '\"text\"'), `@FILE`, or `-` for \
                    stdin";
        CliError::usage(format!("{name}:{}:{}: this is not JSON: {e}", e.line(), e.column()), help)
    })
}
