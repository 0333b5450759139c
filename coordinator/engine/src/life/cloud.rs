//! Life-cycle events as CloudEvents, in the shapes of the specification.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use stepmill_protocol::{Problem, StepPath};

use super::{Happening, Told};
use crate::instant::iso8601;

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeEvent {
    /// The `type`, without what all types begin and end with, for instance `task.created`.
    pub kind: &'static str,
    /// Says where it stands among the events of its run: the order of these texts is the order of the events.
    pub sequence: String,
    /// The event in the structured form, JSON.
    pub body: Vec<u8>,
}

/// What every type begins with.
const PREFIX: &str = "io.serverlessworkflow.";

impl Told {
    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> Vec<LifeEvent> {
        let name = format!("{}-{}.{}", self.workflow, self.run, self.namespace);
        let source = format!("/{}/{}", self.namespace, self.workflow);
        let (run, time) = (self.run.to_string(), iso8601(self.at));
        let mut events = Vec::with_capacity(self.happenings.len() * 2);
        for happening in &self.happenings {
            for (kind, time_field) in kinds(happening) {
                let number = events.len();
                let data = Data { told: self, name: &name, time_field, time: &time, happening };
                let sequence = format!("{:016}.{number:06}", self.rev);
                let event = Envelope {
                    specversion: "1.0",
                    id: &format!("{run}:{}:{number}", self.rev),
                    source: &source,
                    kind: &format!("{PREFIX}{kind}.v1"),
                    subject: &run,
                    time: &time,
                    datacontenttype: "application/json",
                    sequence: &sequence,
                    data,
                };
                // Texts, numbers and JSON values only: it cannot fail.
                let body = serde_json::to_vec(&event).unwrap_or_default();
                events.push(LifeEvent { kind, sequence, body });
            }
        }
        events
    }
}

/// The types of the events that a happening is told by, each with the name of its time.
fn kinds(happening: &Happening) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (first, second) = match happening {
        Happening::Started => (("workflow.started", "startedAt"), None),
        Happening::Suspended => (("workflow.suspended", "suspendedAt"), None),
        Happening::Resumed => (("workflow.resumed", "resumedAt"), None),
        Happening::CorrelationStarted => (("workflow.correlation-started", "startedAt"), None),
        Happening::CorrelationCompleted => (("workflow.correlation-completed", "completedAt"), None),
        Happening::Cancelled => (("workflow.cancelled", "cancelledAt"), None),
        Happening::Faulted(_) => (("workflow.faulted", "faultedAt"), None),
        Happening::Completed(_) => (("workflow.completed", "completedAt"), None),
        Happening::TaskBegan(_) => (("task.created", "createdAt"), Some(("task.started", "startedAt"))),
        Happening::TaskRetried(_) => (("task.retried", "retriedAt"), None),
        Happening::TaskCancelled(_) => (("task.cancelled", "cancelledAt"), None),
        Happening::TaskFaulted(..) => (("task.faulted", "faultedAt"), None),
        Happening::TaskCompleted(_) => (("task.completed", "completedAt"), None),
    };
    std::iter::once(first).chain(second)
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
    sequence: &'a str,
    data: Data<'a>,
}

struct Data<'a> {
    told: &'a Told,
    name: &'a str,
    time_field: &'static str,
    time: &'a str,
    happening: &'a Happening,
}

#[derive(serde::Serialize)]
struct Definition<'a> {
    name: &'a str,
    namespace: &'a str,
    version: &'a str,
}

impl Data<'_> {
    fn task(&self) -> Option<&StepPath> {
        match self.happening {
            Happening::TaskBegan(path)
            | Happening::TaskRetried(path)
            | Happening::TaskCancelled(path)
            | Happening::TaskFaulted(path, _)
            | Happening::TaskCompleted(path) => Some(path),
            Happening::Started
            | Happening::Suspended
            | Happening::Resumed
            | Happening::CorrelationStarted
            | Happening::CorrelationCompleted
            | Happening::Cancelled
            | Happening::Faulted(_)
            | Happening::Completed(_) => None,
        }
    }

    fn error(&self) -> Option<&Problem> {
        match self.happening {
            Happening::Faulted(problem) | Happening::TaskFaulted(_, problem) => Some(problem),
            Happening::Started
            | Happening::Suspended
            | Happening::Resumed
            | Happening::CorrelationStarted
            | Happening::CorrelationCompleted
            | Happening::Cancelled
            | Happening::Completed(_)
            | Happening::TaskBegan(_)
            | Happening::TaskRetried(_)
            | Happening::TaskCancelled(_)
            | Happening::TaskCompleted(_) => None,
        }
    }

    fn output(&self) -> Option<&Value> {
        if let Happening::Completed(output) = self.happening { output.as_ref() } else { None }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.task() {
            Some(path) => {
                map.serialize_entry("workflow", self.name)?;
                map.serialize_entry("task", path)?;
            }
            None => map.serialize_entry("name", self.name)?,
        }
        if *self.happening == Happening::Started {
            let Told { namespace, workflow, version, .. } = self.told;
            let definition = Definition { name: workflow.as_str(), namespace: namespace.as_str(), version: &version.0 };
            map.serialize_entry("definition", &definition)?;
        }
        map.serialize_entry(self.time_field, self.time)?;
        if let Some(error) = self.error() {
            map.serialize_entry("error", error)?;
        }
        if let Some(output) = self.output() {
            map.serialize_entry("output", output)?;
        }
        map.end()
    }
}
