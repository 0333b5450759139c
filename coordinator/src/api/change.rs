//! `cancel` and `signal`.

use stepmill_protocol::api::{Acknowledged, CancelRequest, Folded, SignalRequest};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Event, Namespace, Problem, RunId, codec, limit};

use super::{append_and_wait, read};
use crate::shared::Shared;

pub(super) async fn cancel(
    shared: &Shared,
    namespace: &Namespace,
    request: CancelRequest,
) -> Result<Acknowledged, Problem> {
    let reason = if request.reason.is_empty() { "cancelled by a caller".to_owned() } else { request.reason };
    change(shared, namespace, request.run, Event::Cancel { reason }).await
}

pub(super) async fn signal(
    shared: &Shared,
    namespace: &Namespace,
    request: SignalRequest,
) -> Result<Acknowledged, Problem> {
    let SignalRequest { run, name, data, id } = request;
    if name.is_empty() || name.len() > limit::NAME_BYTES_MAX {
        let detail = format!("a signal's name has 1 to {} bytes", limit::NAME_BYTES_MAX);
        return Err(Problem::standard(Standard::Validation, detail));
    }
    let bytes = codec::pack(&data).map_err(|e| Problem::standard(Standard::Validation, e.to_string()))?.len();
    if bytes > limit::VALUE_BYTES_MAX {
        let detail = format!("the signal's data has {bytes} bytes, {} are allowed", limit::VALUE_BYTES_MAX);
        return Err(Problem::standard(Standard::Validation, detail).with_status(413));
    }
    let id = id.unwrap_or_else(uuid::Uuid::new_v4);
    change(shared, namespace, run, Event::Signal { id, name, data }).await
}

pub(super) async fn change(
    shared: &Shared,
    namespace: &Namespace,
    run: RunId,
    event: Event,
) -> Result<Acknowledged, Problem> {
    // Only of this namespace; what the owner then finds is what counts.
    read::load(shared, namespace, run).await?;
    match append_and_wait(shared, run, event).await? {
        Folded::Applied => Ok(Acknowledged { run, applied: true, note: None }),
        Folded::Ignored { note } => Ok(Acknowledged { run, applied: false, note: Some(note) }),
        Folded::Refused(problem) => Err(problem),
    }
}
