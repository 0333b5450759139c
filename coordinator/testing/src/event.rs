//! CloudEvents that arrive while a run is under way, and those that it emits.

use serde_json::Value;
use stepmill_definition::{Mistake, Placed};
use stepmill_protocol::api::Folded;
use stepmill_protocol::cloud::SPEC_VERSION;
use stepmill_protocol::{Acted, CloudEvent, CommandId, Event, Occurrence};

use crate::outcome::Failure;
use crate::when::shown;
use crate::world::World;

/// Reads an event as a case gives it; what every event must have and nobody looks at is filled in.
pub(crate) fn read(number: usize, given: &Placed<Value>) -> Result<CloudEvent, Mistake> {
    let mut value = given.value.clone();
    if let Some(fields) = value.as_object_mut() {
        let usual = [
            ("specversion", SPEC_VERSION.to_owned()),
            ("id", format!("event-{}", number + 1)),
            ("source", "/test".into()),
        ];
        for (name, text) in usual {
            fields.entry(name).or_insert_with(|| text.into());
        }
    }
    CloudEvent::try_from(value).map_err(|e| {
        let help = "give it at least `type`, and its `data`";
        Mistake::error("event", &given.place, format!("this is no CloudEvent: {e}"), help)
    })
}

impl World<'_> {
    /// An event has been stored.
    pub(crate) fn occur(&mut self, n: usize) {
        let (Some(given), Some(event)) = (self.event_at(n), self.events.get(n).cloned()) else { return };
        let kind = event.kind().to_owned();
        let folded = self.store(event);
        let (message, help) = match (folded, given.taken) {
            (Folded::Applied, true) | (Folded::Ignored { .. }, false) => return,
            (Folded::Applied, false) => (format!("the run took the event `{kind}`, and should not"), ""),
            (Folded::Ignored { note }, true) => {
                let help = "write `taken: false` where that is meant";
                (format!("the event `{kind}` changed nothing: {note}"), help)
            }
            (Folded::Refused(problem), _) => (format!("the event `{kind}` was refused: {problem}"), ""),
        };
        self.failures.push(Failure::new("event", &given.event.place, message, help));
    }

    /// The run emits an event: its own tasks that listen may take it.
    pub(crate) fn emit(&mut self, id: CommandId, event: CloudEvent) {
        self.trail.emitted.push(event.value().clone());
        self.store(event);
        self.fold(&Event::Acted { id, outcome: Acted::Done { output: Value::Null } });
    }

    fn store(&mut self, event: CloudEvent) -> Folded {
        self.stored += 1;
        let occurrence = Occurrence { event, stored_at: self.now, seq: self.stored };
        self.fold(&Event::Occurred(Box::new(occurrence)))
    }

    /// The run ended before an event came.
    pub(crate) fn event_was_late(&mut self, n: usize) {
        let (Some(given), Some(event)) = (self.event_at(n), self.events.get(n)) else { return };
        if given.taken {
            let message = format!("the event `{}` came too late: the run had ended by then", event.kind());
            let help = format!("it ended {} after its submission", shown(self.elapsed()));
            self.failures.push(Failure::new("event", &given.event.place, message, help));
        }
    }
}
