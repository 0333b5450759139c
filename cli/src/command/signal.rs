//! `signal`: hands a value to a run.

use stepmill_protocol::RunId;
use stepmill_protocol::api::SignalRequest;

use super::Context;
use super::cancel::show;
use super::submit::read_value;
use crate::args::Reach;
use crate::connect;
use crate::error::{CliError, FAILED};

const EXAMPLES: &str = "\
Examples:
  stepmill signal 0198f2c4-7a11-7cc0-8a77-0123456789ab approved --data '{\"by\":\"ann\"}'
  stepmill signal 0198f2c4-7a11-7cc0-8a77-0123456789ab document --data @scan.json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SignalArgs {
    /// The run's id
    run: RunId,
    /// The signal's name
    name: String,
    /// Its value: JSON, `@FILE`, or `-` for stdin
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "null", hide_default_value = true)]
    data: String,
    /// Unique id: a second signal with it is ignored [default: a new one]
    #[arg(long, value_name = "UUID")]
    id: Option<uuid::Uuid>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

pub(crate) async fn run(context: &Context, args: SignalArgs) -> Result<(), CliError> {
    let data = read_value("--data", &args.data)?;
    let request = SignalRequest { run: args.run, name: args.name, data, id: args.id };
    let client = connect::client(context.settings()).await?;
    let answer = client.signal(&request).await?;
    show(context.out, &answer, "has the signal")?;
    // A signal that was there before is no failure, one that nobody will ever take is.
    if answer.applied || !client.get(args.run).await?.state.is_final() { Ok(()) } else { Err(CliError::silent(FAILED)) }
}
