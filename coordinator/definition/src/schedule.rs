//! `schedule`, as a workflow of its own that starts the other one: it waits for the next time or event, starts a run and does
//! not wait for it (`after` does), and begins again. So a schedule is a run, with all that runs have: its next time is a timer,
//! it survives what runs survive, it is listed, shown and cancelled like one. What it starts is on its own: a start holds
//! nothing up, and ending the schedule ends no run (see [`crate::plan::SystemStep::Workflow`]).

use serde_json::{Value, json};
use stepmill_protocol::{Millis, WorkflowName};

use crate::plan::{Plan, ReadAs, Schedule};

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
                { "start": { "then": "due", "run": self.begin(false) } },
            ]),
            Schedule::After(pause) => json!([
                { "start": { "try": [{ "begin": { "run": self.begin(true) } }], "catch": {} } },
                { "due": { "wait": { "milliseconds": pause.0 }, "then": "start" } },
            ]),
            Schedule::On { events, read } => self.on(events, *read),
        };
        let document = json!({
            "dsl": "1.0.3", "namespace": self.namespace, "name": format!("{}{SUFFIX}", self.name), "version": self.version,
        });
        let mut keeper = json!({ "document": document, "do": steps });
        if matches!(self.schedule, Some(Schedule::On { .. })) && !self.secrets.is_empty() {
            keeper["use"] = json!({ "secrets": self.secrets });
        }
        Some(keeper.to_string())
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
            { "start": { "run": self.begin(false) } },
            { "next": { "set": { "due": next }, "then": "due" } },
        ])
    }

    /// The event that completes a set leads to the start and back to listening in one fold, so that none is missed. A set that
    /// is too large is given up: it must not end the schedule.
    fn on(&self, events: &Value, read: ReadAs) -> Value {
        let read = read.as_str();
        let mut run = self.begin(false);
        if let Some(workflow) = run.get_mut("workflow").and_then(Value::as_object_mut) {
            // What was consumed is the task's input, and so the run's.
            workflow.remove("input");
        }
        json!([
            { "events": {
                "try": [{ "next": { "listen": { "to": events, "read": read } } }],
                "catch": { "do": [{ "pause": { "wait": { "seconds": 1 } } }], "then": "events" },
            } },
            { "start": { "run": run, "output": { "as": "${ null }" }, "then": "events" } },
        ])
    }

    fn begin(&self, wait: bool) -> Value {
        let workflow = json!({
            "namespace": self.namespace, "name": self.name, "version": self.version, "input": {},
        });
        json!({ "workflow": workflow, "await": wait })
    }
}
