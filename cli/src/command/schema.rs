//! `schema`: the JSON Schema of definitions, for editors.

use super::Context;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill schema > stepmill.json

In an editor with the YAML language server, begin a definition with the line
  # yaml-language-server: $schema=stepmill.json
and it completes and checks what the standard has and what Stepmill adds. It refers to the standard's own schema by its address.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {}

pub(crate) fn run(context: &Context, _: &SchemaArgs) -> Result<(), CliError> {
    context.out.raw(stepmill_definition::SCHEMA.as_bytes())
}
