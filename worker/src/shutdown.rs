//! The signals that ask a process to leave.

/// Resolves when the process is asked to end (SIGTERM, or Ctrl-C). Hand it to [`crate::Worker::run`].
pub async fn on_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "cannot listen for SIGTERM; only Ctrl-C will stop this worker"),
        }
    }
    if interrupt.await.is_err() {
        // No signal can be heard: run until the process is killed.
        std::future::pending::<()>().await;
    }
}
