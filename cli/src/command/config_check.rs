//! `config check`: each setting, its value and where it came from.

use super::Context;
use crate::args::Reach;
use crate::config::{Loaded, Origin};
use crate::error::CliError;
use crate::output::table;

const EXAMPLES: &str = "\
Examples:
  stepmill config check
  STEPMILL_NATS_URL=nats://broker:4222 stepmill config check --json
  stepmill config check --config /etc/stepmill.toml";

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    act: Act,
}

impl ConfigArgs {
    pub(crate) const fn reach(&self) -> &Reach {
        match &self.act {
            Act::Check { reach } => reach,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Print each setting, its value and where it came from
    #[command(after_help = EXAMPLES)]
    Check {
        #[command(flatten)]
        reach: Reach,
    },
}

pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Result<(), CliError> {
    match args.act {
        Act::Check { .. } => check(context),
    }
}

fn check(context: &Context) -> Result<(), CliError> {
    let origins = context.loaded.origins();
    let stray = Loaded::stray_variables();
    let mut shown = table(&["setting", "value", "from", "meaning"]);
    for Origin { key, value, source, meaning } in &origins {
        shown.add_row(vec![(*key).to_owned(), plain(value), source.clone(), (*meaning).to_owned()]);
    }
    context.out.text(&shown.trim_fmt())?;
    for name in &stray {
        context
            .out
            .note(&format!("warning: the environment variable {name} names no setting; is it a typing mistake?"));
    }
    context.out.json(&serde_json::json!({ "settings": origins, "stray_variables": stray }))
}

fn plain(value: &serde_json::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => "-".into(),
        None => value.to_string(),
    }
}
