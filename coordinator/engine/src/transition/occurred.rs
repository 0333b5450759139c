//! A CloudEvent that some task of the run may listen for. Each task that listens takes it or does not, for itself.

use stepmill_protocol::Occurrence;
use stepmill_protocol::api::Folded;

use crate::advance::ignored;
use crate::frame::FrameId;
use crate::walk::{Fit, Walk, farther};

/// An event for a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, event: &Occurrence) -> Folded {
    let mut seen = false;
    let mut takers: Vec<(FrameId, Fit)> = Vec::new();
    for id in &walk.live.listening {
        match walk.fit(*id, event) {
            fit @ (Fit::Filter(_) | Fit::Broken(_)) => takers.push((*id, fit)),
            Fit::Seen => seen = true,
            Fit::None => {}
        }
    }
    if takers.is_empty() {
        return ignored(if seen { "the event was received before" } else { "nothing in the run waits for this event" });
    }
    let place = (event.stored_at, event.seq);
    walk.event = Some(place);
    walk.live.heard = farther(walk.live.heard, place);
    for (id, fit) in takers {
        match fit {
            Fit::Filter(filter) => walk.take_event(id, filter, event),
            Fit::Broken(filter) => walk.fail_filter(id, filter, event),
            Fit::Seen | Fit::None => {}
        }
    }
    Folded::Applied
}
