//! `bench`: measures this machine.

mod chain;
mod fleet;
mod load;

use super::Context;
use crate::error::CliError;

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Runs of no-op steps, one after the other
    Chain(chain::ChainArgs),
}

pub(crate) async fn run(context: &Context, args: BenchArgs) -> Result<(), CliError> {
    match args.what {
        What::Chain(args) => chain::run(context, args).await,
    }
}
