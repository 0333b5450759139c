//! Events on a run that does nothing any more: it ended, or was put aside.

use stepmill_protocol::Event;
use stepmill_protocol::api::Folded;

use super::{report, submit};
use crate::advance::ignored;
use crate::run::{End, Head};

/// An event on a run that ended.
pub(crate) fn ended(head: &Head, end: &End, event: &Event) -> Folded {
    let how = match end {
        End::Completed(_) => "the run is completed",
        End::Faulted(_) => "the run has faulted",
        End::Cancelled(_) => "the run was cancelled",
    };
    late(head, how, event)
}

/// An event on a run that was put aside.
pub(crate) fn parked(head: &Head, event: &Event) -> Folded {
    late(head, "the run is parked until somebody has looked at it", event)
}

fn late(head: &Head, note: &str, event: &Event) -> Folded {
    match event {
        Event::Submitted(submitted) => submit::again(head, submitted),
        Event::Report(report) => report::refuse_stranger(head, report).unwrap_or_else(|| ignored(note)),
        Event::Signal { .. }
        | Event::TimerDue { .. }
        | Event::Cancel { .. }
        | Event::Resume { .. }
        | Event::TaskLost { .. }
        | Event::Acted { .. }
        | Event::ChildEnded { .. }
        | Event::Park { .. }
        | Event::Snapshot { .. }
        | Event::Occurred(_)
        | Event::Operated(_) => ignored(note),
    }
}
