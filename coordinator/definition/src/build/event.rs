//! Events: `listen`, `emit`, and which events are meant.

use serde_json::{Map, Value, json};
use stepmill_protocol::Priority;

use super::kind::{Emit, Listen};
use super::policy::Authentication;
use super::task::{Task, Tasks, set};
use crate::plan::ReadAs;

/// Which events are waited for, and when it is enough.
#[derive(Clone, Debug)]
#[must_use]
pub struct Events(pub(super) Value);

impl Events {
    /// One event that fits.
    pub fn one(filter: EventFilter) -> Self {
        Self(json!({ "one": filter.0 }))
    }

    /// One event that fits any of the filters; of no filter, any event.
    pub fn any(filters: impl IntoIterator<Item = EventFilter>) -> Self {
        Self(json!({ "any": filters.into_iter().map(|f| Value::Object(f.0)).collect::<Vec<_>>() }))
    }

    /// An event for each filter.
    pub fn all(filters: impl IntoIterator<Item = EventFilter>) -> Self {
        Self(json!({ "all": filters.into_iter().map(|f| Value::Object(f.0)).collect::<Vec<_>>() }))
    }

    /// Goes on with more events until this expression on the array of them holds; of [`Events::any`] only.
    pub fn until(mut self, condition: &str) -> Self {
        self.0["until"] = condition.into();
        self
    }

    /// Goes on with more events until these have come; of [`Events::any`] only.
    pub fn until_events(mut self, events: Self) -> Self {
        self.0["until"] = events.0;
        self
    }
}

/// Which events fit.
#[derive(Clone, Debug)]
#[must_use]
pub struct EventFilter(Map<String, Value>);

impl EventFilter {
    /// Events of this type: a text, a regular expression or `${ … }`.
    pub fn of_type(kind: &str) -> Self {
        Self::with("type", kind)
    }

    /// Events that have this attribute.
    pub fn with(name: &str, value: impl Into<Value>) -> Self {
        Self(Map::new()).attribute(name, value)
    }

    /// Which have this attribute as well.
    pub fn attribute(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.0, &["with", name], value.into());
        self
    }

    /// Whose data is this, or for whose data this expression holds.
    pub fn data(self, data: impl Into<Value>) -> Self {
        self.attribute("data", data)
    }

    /// In which this expression finds the same value as in the other events of the task under this key.
    pub fn correlate(mut self, key: &str, from: &str) -> Self {
        set(&mut self.0, &["correlate", key, "from"], from.into());
        self
    }

    /// In which the expression `from` finds what `expect` says: a text, or `${ … }`.
    pub fn correlate_with(mut self, key: &str, from: &str, expect: &str) -> Self {
        set(&mut self.0, &["correlate", key], json!({ "from": from, "expect": expect }));
        self
    }
}

/// Waits for events.
///
/// ```
/// use stepmill_definition::build::{EventFilter, Events, Workflow, listen};
/// let paid = EventFilter::of_type("order.paid").correlate_with("order", ".data.order", "${ .order }");
/// let flow = Workflow::new("shop", "order", "1.0.0").task("paid", listen(Events::one(paid)));
/// flow.compile().unwrap();
/// ```
pub fn listen(to: Events) -> Task<Listen> {
    Task::new("listen", json!({ "to": to.0 }))
}

impl Task<Listen> {
    /// What is taken of each event; its data unless said.
    pub fn read(self, read: ReadAs) -> Self {
        self.inside(&["listen", "read"], read.as_str())
    }

    /// Runs these tasks on each event, one after the other.
    pub fn for_each(self, tasks: Tasks) -> Self {
        self.inside(&["foreach", "do"], tasks.value())
    }

    /// The variable that holds the event, without `$`; `item` unless said.
    pub fn variable(self, name: &str) -> Self {
        self.inside(&["foreach", "item"], name)
    }

    /// The variable that holds the event's number, without `$`; `index` unless said.
    pub fn index(self, name: &str) -> Self {
        self.inside(&["foreach", "at"], name)
    }

    /// Makes the event's place in the output of what the tasks give.
    pub fn each_output_as(self, output: impl Into<Value>) -> Self {
        self.inside(&["foreach", "output", "as"], output)
    }

    /// Becomes `$context` after each event.
    pub fn each_export_as(self, export: impl Into<Value>) -> Self {
        self.inside(&["foreach", "export", "as"], export)
    }
}

/// Emits an event of this type.
///
/// ```
/// use serde_json::json;
/// use stepmill_definition::build::{Workflow, emit, expr};
/// let flow = Workflow::new("shop", "order", "1.0.0")
///     .task("tell", emit("order.placed").data(json!({ "order": expr(".id") })))
///     .task("push", emit("order.placed").endpoint("https://hub.example.com/events"));
/// flow.compile().unwrap();
/// ```
pub fn emit(kind: &str) -> Task<Emit> {
    Task::new("emit", json!({ "event": { "with": { "type": kind } } }))
}

impl Task<Emit> {
    /// An attribute of the event.
    pub fn attribute(self, name: &str, value: impl Into<Value>) -> Self {
        self.inside(&["emit", "event", "with", name], value)
    }

    /// What the event says; values may be expressions.
    pub fn data(self, data: impl Into<Value>) -> Self {
        self.attribute("data", data)
    }

    /// Sends it to this address, instead of to the runs that listen.
    pub fn endpoint(self, uri: &str) -> Self {
        self.inside(&["metadata", "endpoint", "uri"], uri)
    }

    /// Who says so to the endpoint.
    pub fn authentication(self, policy: Authentication) -> Self {
        self.inside(&["metadata", "endpoint", "authentication"], policy.0)
    }

    /// The pool of workers that sends it to the endpoint.
    pub fn pool(self, pool: &str) -> Self {
        self.metadata("pool", pool)
    }

    /// Which of the pool's tasks go first.
    pub fn priority(self, priority: Priority) -> Self {
        self.metadata("priority", priority.as_str())
    }
}
