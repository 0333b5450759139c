//! `completions`: a script that teaches a shell our commands and flags.

use clap::CommandFactory as _;

use super::Context;
use crate::args::Cli;
use crate::error::CliError;

const EXAMPLES: &str = "\
Examples:
  stepmill completions bash > ~/.local/share/bash-completion/completions/stepmill
  stepmill completions zsh > ~/.zfunc/_stepmill
  stepmill completions fish > ~/.config/fish/completions/stepmill.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stepmill", &mut script);
    context.out.raw(&script)
}
