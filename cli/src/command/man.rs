//! `man`: manual pages, one per command.

use std::path::PathBuf;

use clap::CommandFactory as _;
use serde_json::json;

use super::Context;
use crate::args::Cli;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill man ~/.local/share/man/man1 && man stepmill-submit";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// The folder to write them into; it is made where it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(context: &Context, args: &ManArgs) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::new(format!("cannot write into {}: {e}", args.dir.display()));
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(failed)?;
    context.out.note(&format!("manual pages written into {}", args.dir.display()));
    context.out.json(&json!({ "dir": args.dir }))
}
