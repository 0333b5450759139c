//! `define`: checks a definition here, then registers it.

use std::path::PathBuf;

use super::Context;
use crate::args::Reach;
use crate::command::validate;
use crate::connect;
use crate::error::{CliError, read_file};

const EXAMPLES: &str = "\
Examples:
  stepmill define flow.yaml
  stepmill define a.yaml b.yaml --namespace team-1

The namespace of the document must be the one that is called (--namespace). The same document can be registered again; a \
changed one needs a new version.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DefineArgs {
    /// Definitions, YAML or JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: DefineArgs) -> Result<(), CliError> {
    // All are checked before the first is registered.
    let mut sources = Vec::new();
    for file in &args.files {
        let source = read_file(file)?;
        validate::check(file, &source)?;
        sources.push(source);
    }
    let client = connect::client(context.settings()).await?;
    for (file, source) in args.files.iter().zip(&sources) {
        let answer = client.define(source).await?;
        context.out.json(&answer)?;
        let again = if answer.created { "" } else { " (it was registered already)" };
        context.out.text(&format!("{} {}{again}", answer.workflow, answer.version))?;
        if args.files.len() == 1 {
            context.out.note(&format!("run it: stepmill submit {} --input '{{}}' --wait", answer.workflow));
        } else {
            context.out.note(&format!("  from {}", file.display()));
        }
    }
    Ok(())
}
