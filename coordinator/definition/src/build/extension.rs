//! Extensions: tasks around other tasks.

use serde_json::{Map, Value};

use super::task::Tasks;

/// What comes before and after tasks of a kind.
///
/// ```
/// use stepmill_definition::build::{Extension, Tasks, Workflow, call};
/// let log = Extension::of("call").when("$task.call != \"log\"").before(Tasks::new().task("log", call("log")));
/// let flow = Workflow::new("shop", "order", "1.0.0").extension("logging", log).task("work", call("work"));
/// flow.compile().unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Extension(pub(super) Map<String, Value>);

impl Extension {
    /// Of tasks of a kind: `call`, `composite` (`do` and `fork`), `set` …, or `all`.
    pub fn of(kind: &str) -> Self {
        Self(Map::from_iter([("extend".to_owned(), kind.into())]))
    }

    /// Only where this holds; `$task` is the task.
    pub fn when(mut self, condition: &str) -> Self {
        self.0.insert("when".into(), condition.into());
        self
    }

    /// What comes before. A task that leaves with [`super::Then::Exit`] takes the place of the extended one.
    pub fn before(mut self, tasks: Tasks) -> Self {
        self.0.insert("before".into(), tasks.value());
        self
    }

    /// What comes after.
    pub fn after(mut self, tasks: Tasks) -> Self {
        self.0.insert("after".into(), tasks.value());
        self
    }
}
