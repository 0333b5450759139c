//! What every task has, and lists of tasks.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::policy::{Budget, Length, Then};

/// A task of kind `K`. Functions such as [`super::call`] make one; the methods here are there for every kind.
#[derive(Clone, Debug)]
#[must_use]
pub struct Task<K> {
    pub(super) fields: Map<String, Value>,
    kind: PhantomData<K>,
}

/// A task of any kind.
#[derive(Clone, Debug)]
pub struct AnyTask(pub(super) Value);

impl<K> From<Task<K>> for AnyTask {
    fn from(task: Task<K>) -> Self {
        Self(Value::Object(task.fields))
    }
}

impl<K> Task<K> {
    pub(super) fn new(key: &str, value: Value) -> Self {
        Self { fields: Map::from_iter([(key.to_owned(), value)]), kind: PhantomData }
    }

    pub(super) fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a field of an object below the task; each name of the path is a key.
    pub(super) fn inside(mut self, path: &[&str], value: impl Into<Value>) -> Self {
        set(&mut self.fields, path, value.into());
        self
    }

    /// Runs only if this holds (`if`).
    pub fn when(self, condition: &str) -> Self {
        self.field("if", condition)
    }

    /// Checks the input (`input.schema`).
    pub fn input_schema(self, schema: Value) -> Self {
        self.inside(&["input", "schema", "document"], schema)
    }

    /// Makes the task's input of what comes in (`input.from`): an expression, or an object with some.
    pub fn input_from(self, from: impl Into<Value>) -> Self {
        self.inside(&["input", "from"], from)
    }

    /// Makes the task's output of what it gives (`output.as`): an expression, or an object with some.
    pub fn output_as(self, output: impl Into<Value>) -> Self {
        self.inside(&["output", "as"], output)
    }

    /// Checks the output (`output.schema`).
    pub fn output_schema(self, schema: Value) -> Self {
        self.inside(&["output", "schema", "document"], schema)
    }

    /// Becomes `$context` (`export.as`): an expression, or an object with some.
    pub fn export_as(self, export: impl Into<Value>) -> Self {
        self.inside(&["export", "as"], export)
    }

    /// Checks the new `$context` (`export.schema`).
    pub fn export_schema(self, schema: Value) -> Self {
        self.inside(&["export", "schema", "document"], schema)
    }

    /// How long it may take.
    pub fn timeout(self, after: impl Into<Length>) -> Self {
        self.field("timeout", json!({ "after": after.into().0 }))
    }

    /// How long it may take: a timeout of the workflow, see [`super::Workflow::define_timeout`].
    pub fn timeout_named(self, name: &str) -> Self {
        self.field("timeout", name)
    }

    /// Where the run goes after it.
    pub fn then(self, then: impl Into<Then>) -> Self {
        self.field("then", then.into().text())
    }

    /// What it may spend.
    pub fn budget(self, budget: Budget) -> Self {
        self.metadata("budget", budget.0)
    }

    /// A key of `metadata`.
    pub fn metadata(self, key: &str, value: impl Into<Value>) -> Self {
        self.inside(&["metadata", key], value)
    }
}

/// Puts a value into an object, with the objects around it.
pub(super) fn set(fields: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => {
            fields.insert((*key).to_owned(), value);
        }
        [key, rest @ ..] => {
            let inner = fields.entry((*key).to_owned()).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// A list of tasks.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Tasks(Vec<(String, Value)>);

impl Tasks {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a task at the end.
    pub fn task(mut self, name: &str, task: impl Into<AnyTask>) -> Self {
        self.0.push((name.to_owned(), task.into().0));
        self
    }

    pub(super) fn value(self) -> Value {
        let named = |(name, task)| Value::Object(Map::from_iter([(name, task)]));
        Value::Array(self.0.into_iter().map(named).collect())
    }
}
