//! `schedule`, as a workflow of its own that starts the other one: it waits for the next time, starts a run and does not wait
//! for it (`after` does), and begins again. So a schedule is a run, with all that runs have: its next time is a timer, it
//! survives what runs survive, it is listed, shown and cancelled like one.

use serde_json::{Value, json};
use stepmill_protocol::{Millis, WorkflowName};

use crate::plan::{Plan, Schedule};

/// Ends the name of the workflow that keeps a schedule. No other workflow's name has a `_`.
pub const SUFFIX: &str = "_schedule";

impl Plan {
    /// The name of the workflow that keeps this one's schedule.
    ///
    /// # Errors
    /// When that were too long.
    pub fn keeper_name(&self) -> Result<WorkflowName, stepmill_protocol::id::InvalidId> {
        WorkflowName::new(&format!("{}{SUFFIX}", self.name))
    }

    /// The definition of the workflow that keeps this one's schedule, as JSON text.
    #[must_use]
    pub fn keeper(&self) -> Option<String> {
        let steps = match self.schedule.as_ref()? {
            Schedule::Every(every) => self.every(*every),
            Schedule::Cron(pattern) => json!([
                { "due": { "wait": format!("${{ {{ cron: {} }} }}", Value::from(pattern.as_str())) } },
                { "start": { "then": "due", "try": [self.begin(false)], "catch": {} } },
            ]),
            Schedule::After(pause) => json!([
                { "start": { "try": [self.begin(true)], "catch": {} } },
                { "due": { "wait": { "milliseconds": pause.0 }, "then": "start" } },
            ]),
        };
        let document = json!({
            "dsl": "1.0.3", "namespace": self.namespace, "name": format!("{}{SUFFIX}", self.name), "version": self.version,
        });
        Some(json!({ "document": document, "do": steps }).to_string())
    }

    /// On the beat of the registration. Where times were missed, one start catches up and the beat goes on.
    fn every(&self, every: Millis) -> Value {
        let now = "$task.startedAt.epoch.milliseconds";
        let every = every.0;
        let rest = format!("${{ {{ milliseconds: ([.due - {now}, 0] | max) }} }}");
        let next = format!("${{ .due + (((({now} - .due) / {every}) | floor) + 1) * {every} }}");
        json!([
            { "first": { "set": { "due": format!("${{ {now} + {every} }}") } } },
            { "due": { "wait": rest } },
            { "start": { "try": [self.begin(false)], "catch": {} } },
            { "next": { "set": { "due": next }, "then": "due" } },
        ])
    }

    fn begin(&self, wait: bool) -> Value {
        let workflow = json!({
            "namespace": self.namespace, "name": self.name, "version": self.version, "input": {},
        });
        json!({ "begin": { "run": { "workflow": workflow, "await": wait } } })
    }
}
