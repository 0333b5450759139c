//! When a server should end: Ctrl-C, or SIGTERM from whoever runs it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;

/// Cancelled at the first signal. A second one is for the impatient: the process ends at once.
pub(crate) fn on_signal() -> Result<CancellationToken, CliError> {
    let fail = |e: std::io::Error| CliError::new(format!("cannot listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; what runs is finished first (a second signal ends at once)");
        stop.cancel();
        next().await;
        std::process::exit(i32::from(crate::error::INTERRUPTED));
    });
    Ok(token)
}
