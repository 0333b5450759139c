//! Log lines on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};
use crate::error::CliError;

/// What servers say unless told otherwise.
const SERVER: &str = "info,async_nats=warn";
/// What all other commands say: results and errors are printed, not logged.
const CLIENT: &str = "error,async_nats=off";

/// Never shown, whatever is wanted: the client of MCP servers writes addresses and answers into its lines, secrets and all.
const SILENT: &str = "rmcp=off";

/// Begins to log as the settings say.
pub(crate) fn start(settings: &Settings, is_server: bool) -> Result<(), CliError> {
    let wanted = settings.log.as_deref().unwrap_or(if is_server { SERVER } else { CLIENT });
    let filter = EnvFilter::try_new(format!("{wanted},{SILENT}")).map_err(|e| {
        CliError::usage(
            format!("`{wanted}` is no log filter: {e}"),
            "write a level (error, warn, info, debug, trace), or levels by module: `warn,stepmill_worker=debug`",
        )
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| CliError::new(format!("cannot log: {e}")))
}
