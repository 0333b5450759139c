//! `event`: takes a CloudEvent in.

use stepmill_protocol::api::EventResponse;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{CloudEvent, Namespace, Problem, codec, limit};

use super::queue_problem;
use crate::shared::Shared;

/// Stores an event; answers once it is stored.
pub(crate) async fn take_in(
    shared: &Shared,
    namespace: &Namespace,
    event: CloudEvent,
) -> Result<EventResponse, Problem> {
    let bytes = codec::pack(&event).map_err(|e| Problem::standard(Standard::Validation, e.to_string()))?.len();
    if bytes > limit::VALUE_BYTES_MAX {
        let max = limit::VALUE_BYTES_MAX;
        let detail =
            format!("the event has {bytes} bytes, {max} are allowed; store its data elsewhere and pass a reference");
        return Err(Problem::standard(Standard::Validation, detail).with_status(413));
    }
    let created = shared.ports.events.publish(namespace, &event).await.map_err(queue_problem)?;
    Ok(EventResponse { id: event.id().to_owned(), source: event.source().to_owned(), created })
}
