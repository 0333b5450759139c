//! `graph`: draws a definition, and a run on it.

use std::path::PathBuf;

use miette::Report;
use serde_json::json;
use stepmill_definition::graph::{Marks, mermaid, svg};
use stepmill_definition::plan::Plan;
use stepmill_definition::{Compiled, compile};
use stepmill_protocol::RunId;

use super::Context;
use super::validate::Wrong;
use crate::args::Reach;
use crate::connect;
use crate::error::{CliError, FAILED, read_file};

/// Entries of a history that are looked at; what came later does not show on the picture, and a note says so.
const ENTRIES_MAX: usize = 200_000;

const EXAMPLES: &str = "\
Examples:
  stepmill graph flow.yaml > flow.svg
  stepmill graph flow.yaml --format mermaid          for Markdown files
  stepmill graph flow.yaml --run 0198f2c4-7a11-7cc0-8a77-0123456789ab --output run.svg

With --run: what is done, under way, waiting and failed, and how often workers finished each step. The file must be the \
definition that the run is on.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GraphArgs {
    /// The definition, YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to draw it as
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Show this run on it
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Where to write it [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Svg,
    Mermaid,
}

pub(crate) async fn run(context: &Context, args: GraphArgs) -> Result<(), CliError> {
    let source = read_file(&args.file)?;
    let name = args.file.display().to_string();
    let plan = match compile(&source) {
        Ok(Compiled { plan, .. }) => plan,
        Err(mistakes) => {
            context.out.json(&json!({ "file": name, "ok": false, "mistakes": mistakes }))?;
            context.out.note(&format!("{:?}", Report::new(Wrong::new(&name, &source, mistakes))));
            return Err(CliError::silent(FAILED));
        }
    };
    let marks = match args.run {
        Some(run) => marks(context, &plan, run).await?,
        None => Marks::none(),
    };
    let (word, picture) = match args.format {
        Format::Svg => ("svg", svg(&plan, &marks)),
        Format::Mermaid => ("mermaid", mermaid(&plan, &marks)),
    };
    if let Some(file) = &args.output {
        std::fs::write(file, &picture).map_err(|e| {
            CliError::usage(format!("cannot write {}: {e}", file.display()), "check the path and the permissions")
        })?;
        context.out.note(&format!("written to {}", file.display()));
        return context.out.json(&json!({ "file": name, "ok": true, "format": word, "output": file }));
    }
    context.out.json(&json!({ "file": name, "ok": true, "format": word, "picture": picture }))?;
    if context.out.is_json() { Ok(()) } else { context.out.raw(picture.as_bytes()) }
}

async fn marks(context: &Context, plan: &Plan, run: RunId) -> Result<Marks, CliError> {
    let client = connect::client(context.settings()).await?;
    let view = client.get(run).await?;
    if view.digest != plan.digest {
        return Err(CliError::usage(
            format!("the run is on another definition: {} {}", view.workflow, view.version),
            "name the file as it was registered for that run, to the byte",
        ));
    }
    let mut history = Vec::new();
    let mut after = 0;
    loop {
        let page = client.history(run, after).await?.entries;
        let Some(last) = page.last() else { break };
        after = last.seq;
        history.extend(page.into_iter().filter(|entry| entry.event == "report"));
        if history.len() > ENTRIES_MAX {
            context.out.note(&format!(
                "the run has a long history: what followed the first {ENTRIES_MAX} reports is not counted"
            ));
            break;
        }
    }
    Ok(Marks::of_run(plan, &view, &history))
}
