//! The document as a whole.

use serde_json::{Map, Value, json};

use super::event::Events;
use super::extension::Extension;
use super::policy::{Authentication, Budget, Length, Problem, Retry};
use super::task::{AnyTask, Tasks, set};
use crate::compile::{Compiled, compile};
use crate::mistake::Mistakes;
use crate::plan::ReadAs;

/// The version of the language that is written.
const DSL: &str = "1.0.3";
/// Keys of the top level in the order in which they are written.
const ORDER: [&str; 7] = ["document", "input", "output", "timeout", "schedule", "use", "do"];

/// A workflow that is being built.
#[derive(Clone, Debug)]
#[must_use]
pub struct Workflow {
    fields: Map<String, Value>,
    tasks: Tasks,
}

impl Workflow {
    /// A workflow without tasks.
    pub fn new(namespace: &str, name: &str, version: &str) -> Self {
        let document = json!({ "dsl": DSL, "namespace": namespace, "name": name, "version": version });
        Self { fields: Map::from_iter([("document".to_owned(), document)]), tasks: Tasks::new() }
    }

    /// Adds a task at the end.
    pub fn task(mut self, name: &str, task: impl Into<AnyTask>) -> Self {
        self.tasks = self.tasks.task(name, task);
        self
    }

    /// Its title, for people.
    pub fn title(self, title: &str) -> Self {
        self.put(&["document", "title"], title)
    }

    /// What it does, for people.
    pub fn summary(self, summary: &str) -> Self {
        self.put(&["document", "summary"], summary)
    }

    /// A tag.
    pub fn tag(self, key: &str, value: &str) -> Self {
        self.put(&["document", "tags", key], value)
    }

    /// What one run may spend.
    pub fn budget(self, budget: Budget) -> Self {
        self.put(&["document", "metadata", "budget"], budget.0)
    }

    /// Checks the input.
    pub fn input_schema(self, schema: Value) -> Self {
        self.put(&["input", "schema", "document"], schema)
    }

    /// Makes the first task's input of what comes in.
    pub fn input_from(self, from: impl Into<Value>) -> Self {
        self.put(&["input", "from"], from)
    }

    /// Makes the run's output of the last task's.
    pub fn output_as(self, output: impl Into<Value>) -> Self {
        self.put(&["output", "as"], output)
    }

    /// Checks the output.
    pub fn output_schema(self, schema: Value) -> Self {
        self.put(&["output", "schema", "document"], schema)
    }

    /// How long a run may take.
    pub fn timeout(self, after: impl Into<Length>) -> Self {
        self.put(&["timeout", "after"], after.into().0)
    }

    /// Starts by itself, once in each interval.
    pub fn every(self, interval: impl Into<Length>) -> Self {
        self.put(&["schedule", "every"], interval.into().0)
    }

    /// Starts by itself at the times of a cron pattern, in UTC.
    pub fn cron(self, pattern: &str) -> Self {
        self.put(&["schedule", "cron"], pattern)
    }

    /// Starts by itself at once, and this long after each end.
    pub fn after(self, pause: impl Into<Length>) -> Self {
        self.put(&["schedule", "after"], pause.into().0)
    }

    /// Starts by itself for each set of events; the input is the array of them, of each what `read` says.
    pub fn on(self, events: Events, read: ReadAs) -> Self {
        self.put(&["schedule", "on"], events.0).put(&["schedule", "read"], read.as_str())
    }

    /// Puts tasks around tasks of a kind.
    pub fn extension(mut self, name: &str, extension: Extension) -> Self {
        let named = Value::Object(Map::from_iter([(name.to_owned(), Value::Object(extension.0))]));
        self.push_used("extensions", named);
        self
    }

    /// Names a secret that expressions may use as `$secrets.<name>`.
    pub fn secret(mut self, name: &str) -> Self {
        self.push_used("secrets", name.into());
        self
    }

    /// Adds to a list of `use`.
    fn push_used(&mut self, key: &str, value: Value) {
        let mut list = match self.fields.get("use").and_then(|u| u.get(key)) {
            Some(Value::Array(list)) => list.clone(),
            Some(_) | None => Vec::new(),
        };
        list.push(value);
        set(&mut self.fields, &["use", key], Value::Array(list));
    }

    /// Names a retry policy, for [`super::Catch::retry_named`].
    pub fn retry(self, name: &str, retry: Retry) -> Self {
        self.put(&["use", "retries", name], retry.0)
    }

    /// Names an error, for [`super::raise_named`].
    pub fn define_error(self, name: &str, error: Problem) -> Self {
        self.put(&["use", "errors", name], error.0)
    }

    /// Names a timeout, for [`super::Task::timeout_named`].
    pub fn define_timeout(self, name: &str, after: impl Into<Length>) -> Self {
        self.put(&["use", "timeouts", name], json!({ "after": after.into().0 }))
    }

    /// Names a function, for [`super::call`].
    pub fn define_function(self, name: &str, task: impl Into<AnyTask>) -> Self {
        self.put(&["use", "functions", name], task.into().0)
    }

    /// Names an authentication policy, for [`Authentication::named`].
    pub fn define_authentication(self, name: &str, policy: Authentication) -> Self {
        self.put(&["use", "authentications", name], policy.0)
    }

    fn put(mut self, path: &[&str], value: impl Into<Value>) -> Self {
        set(&mut self.fields, path, value.into());
        self
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut document = Map::new();
        for key in ORDER {
            let value = if key == "do" { Some(self.tasks.clone().value()) } else { self.fields.get(key).cloned() };
            document.extend(value.map(|v| (key.to_owned(), v)));
        }
        Value::Object(document)
    }

    /// The document as YAML, as it can be kept in a file and registered.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let document = self.to_json();
        // JSON is YAML, too: should the writer refuse something, the answer is right all the same
        serde_saphyr::to_string(&document).unwrap_or_else(|_| document.to_string())
    }

    /// Compiles the document.
    ///
    /// # Errors
    /// All its mistakes, at places of [`Workflow::to_yaml`].
    pub fn compile(&self) -> Result<Compiled, Mistakes> {
        compile(&self.to_yaml())
    }
}
