//! Events of the last moments, for a run that began to listen before they came but was not known to.

use std::collections::VecDeque;

use stepmill_protocol::Timestamp;

use crate::port::event::EventMessage;

const EVENTS_MAX: usize = 1_024;
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// The last events, without a gap.
#[derive(Default)]
pub(super) struct Recent {
    events: VecDeque<EventMessage>,
    bytes: usize,
    /// All events stored from then on are here.
    from: Option<Timestamp>,
}

impl Recent {
    /// None yet; all from then on are to come.
    pub(super) fn from(from: Timestamp) -> Self {
        Self { from: Some(from), ..Self::default() }
    }

    pub(super) fn push(&mut self, batch: &[EventMessage]) {
        for message in batch {
            self.bytes += message.bytes;
            self.events.push_back(message.clone());
        }
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(old) = self.events.pop_front() else { break };
            self.bytes -= old.bytes;
            // Others of the same moment may be gone as well.
            self.from = self.from.max(Some(Timestamp(old.at.0.saturating_add(1))));
        }
    }

    /// Whether all from then on are here.
    pub(super) fn holds(&self, since: Timestamp) -> bool {
        self.from.is_some_and(|from| from <= since)
    }

    /// Those that were stored then or later.
    pub(super) fn since(&self, since: Timestamp) -> Vec<EventMessage> {
        self.events.iter().filter(|m| m.at >= since).cloned().collect()
    }
}
