//! The kinds of tasks, each with a function that makes one and the methods that only it has.

use serde_json::{Value, json};
use stepmill_protocol::Priority;

use super::policy::{Authentication, Catch, Length, Problem, Then};
use super::task::{Task, Tasks};
use crate::plan::Join;

/// Kinds that workers run.
pub trait Step {}

/// Names of kinds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $($step:ident)?;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}
        $(impl $step for $name {})?)*
    };
}

kinds! {
    /// `call` of a function or of a step that a worker registered.
    Call Step;
    /// `call: http`.
    Http Step;
    /// `call: openapi`.
    OpenApi Step;
    /// `call: mcp`.
    Mcp Step;
    /// `call: llm`.
    Llm Step;
    /// `run: script` and `run: shell`.
    Process Step;
    /// `run: workflow`.
    Run;
    /// `listen`.
    Listen;
    /// `emit`.
    Emit;
    /// `set`.
    Set;
    /// `do`.
    Do;
    /// `for`.
    For;
    /// `fork`.
    Fork;
    /// `switch`.
    Switch;
    /// `try`.
    Try;
    /// `raise`.
    Raise;
    /// `wait`.
    Wait;
}

impl<K: Step> Task<K> {
    /// The pool of workers that gets it.
    pub fn pool(self, pool: &str) -> Self {
        self.metadata("pool", pool)
    }

    /// Which of the pool's tasks go first.
    pub fn priority(self, priority: Priority) -> Self {
        self.metadata("priority", priority.as_str())
    }

    /// The function of the workflow that undoes the step when the run fails or is cancelled.
    pub fn compensate(self, function: &str) -> Self {
        self.metadata("compensate", function)
    }
}

/// Calls a function of the workflow, or a step that a worker registered.
///
/// ```
/// use stepmill_definition::build::{Workflow, call, expr};
/// let flow = Workflow::new("shop", "hello", "1.0.0").task("greet", call("greet").argument("name", expr(".who")).pool("greeters"));
/// assert_eq!(flow.to_json()["do"][0]["greet"]["with"]["name"], "${ .who }");
/// flow.compile().unwrap();
/// ```
pub fn call(name: &str) -> Task<Call> {
    Task::new("call", name.into())
}

impl Task<Call> {
    /// Its whole input; the task's input unless said.
    pub fn with(self, with: Value) -> Self {
        self.field("with", with)
    }

    /// One field of its input.
    pub fn argument(self, name: &str, value: impl Into<Value>) -> Self {
        self.inside(&["with", name], value)
    }
}

/// Makes an HTTP request.
pub fn http(method: &str, uri: &str) -> Task<Http> {
    Task::new("call", "http".into()).inside(&["with", "method"], method).inside(&["with", "endpoint", "uri"], uri)
}

impl Task<Http> {
    /// A header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.inside(&["with", "headers", name], value)
    }

    /// A query parameter.
    pub fn query(self, name: &str, value: &str) -> Self {
        self.inside(&["with", "query", name], value)
    }

    /// The body; values may be expressions.
    pub fn body(self, body: impl Into<Value>) -> Self {
        self.inside(&["with", "body"], body)
    }

    /// What the output is: `content` (unless said), `response` or `raw`.
    pub fn output(self, output: &str) -> Self {
        self.inside(&["with", "output"], output)
    }

    /// Who the call says it is.
    pub fn authentication(self, policy: Authentication) -> Self {
        self.inside(&["with", "endpoint", "authentication"], policy.0)
    }

    /// Whether redirects count as success.
    pub fn redirect(self, redirect: bool) -> Self {
        self.inside(&["with", "redirect"], redirect)
    }
}

/// Calls an operation of a service with an OpenAPI document at this address.
pub fn openapi(document: &str, operation: &str) -> Task<OpenApi> {
    let task = Task::new("call", "openapi".into());
    task.inside(&["with", "document", "endpoint"], document).inside(&["with", "operationId"], operation)
}

impl Task<OpenApi> {
    /// A parameter of the operation.
    pub fn parameter(self, name: &str, value: impl Into<Value>) -> Self {
        self.inside(&["with", "parameters", name], value)
    }

    /// Who the call says it is.
    pub fn authentication(self, policy: Authentication) -> Self {
        self.inside(&["with", "authentication"], policy.0)
    }

    /// What the output is: `content` (unless said), `response` or `raw`.
    pub fn output(self, output: &str) -> Self {
        self.inside(&["with", "output"], output)
    }

    /// Whether redirects count as success.
    pub fn redirect(self, redirect: bool) -> Self {
        self.inside(&["with", "redirect"], redirect)
    }
}

/// Calls a method (`tools/call`, `tools/list` …) of an MCP server over HTTP.
pub fn mcp_http(endpoint: &str, method: &str) -> Task<Mcp> {
    Task::new("call", "mcp".into())
        .inside(&["with", "method"], method)
        .inside(&["with", "transport", "http", "endpoint"], endpoint)
}

/// Calls a method of an MCP server that the worker starts.
pub fn mcp_stdio(command: &str, arguments: &[&str], method: &str) -> Task<Mcp> {
    let task = Task::new("call", "mcp".into()).inside(&["with", "method"], method);
    let task = task.inside(&["with", "transport", "stdio", "command"], command);
    if arguments.is_empty() {
        task
    } else {
        task.inside(&["with", "transport", "stdio", "arguments"], json!(arguments))
    }
}

impl Task<Mcp> {
    /// The method's parameters.
    pub fn parameters(self, parameters: Value) -> Self {
        self.inside(&["with", "parameters"], parameters)
    }

    /// How long the server may take to answer.
    pub fn answer_within(self, length: impl Into<Length>) -> Self {
        self.inside(&["with", "timeout"], length.into().0)
    }

    /// Which version of the protocol is spoken.
    pub fn protocol_version(self, version: &str) -> Self {
        self.inside(&["with", "protocolVersion"], version)
    }

    /// Who the server is told it talks to.
    pub fn client(self, name: &str, version: &str) -> Self {
        self.inside(&["with", "client"], json!({ "name": name, "version": version }))
    }
}

/// Asks a language model.
pub fn llm(prompt: impl Into<Value>) -> Task<Llm> {
    Task::new("call", "llm".into()).inside(&["with", "prompt"], prompt)
}

impl Task<Llm> {
    /// What the model is told beforehand.
    pub fn system(self, text: &str) -> Self {
        self.inside(&["with", "system"], text)
    }

    /// The JSON Schema that the answer must fit.
    pub fn answer_schema(self, schema: Value) -> Self {
        self.inside(&["with", "schema"], schema)
    }

    /// Which model; the worker's own unless said.
    pub fn model(self, model: &str) -> Self {
        self.inside(&["with", "model"], model)
    }

    /// From 0 (always alike) upwards.
    pub fn temperature(self, temperature: f64) -> Self {
        self.inside(&["with", "temperature"], temperature)
    }

    /// Tokens of the answer at most.
    pub fn max_tokens(self, tokens: u64) -> Self {
        self.inside(&["with", "max_tokens"], tokens)
    }
}

/// Runs a script, where a pool allows it.
pub fn script(language: &str, code: &str) -> Task<Process> {
    Task::new("run", json!({ "script": { "language": language, "code": code } }))
}

/// Runs a command, where a pool allows it.
pub fn shell(command: &str) -> Task<Process> {
    Task::new("run", json!({ "shell": { "command": command } }))
}

impl Task<Process> {
    fn what(&self) -> &'static str {
        let is_script = self.fields.get("run").is_some_and(|run| run.get("script").is_some());
        if is_script { "script" } else { "shell" }
    }

    /// What it reads from its standard input.
    pub fn stdin(self, text: &str) -> Self {
        let what = self.what();
        self.inside(&["run", what, "stdin"], text)
    }

    /// Its arguments.
    pub fn arguments(self, arguments: &[&str]) -> Self {
        let what = self.what();
        self.inside(&["run", what, "arguments"], json!(arguments))
    }

    /// A variable of its environment.
    pub fn environment(self, name: &str, value: &str) -> Self {
        let what = self.what();
        self.inside(&["run", what, "environment", name], value)
    }

    /// What it gives: `stdout` (unless said), `stderr`, `code`, `all` or `none`.
    pub fn returns(self, what: &str) -> Self {
        self.inside(&["run", "return"], what)
    }
}

/// Runs another workflow of the same namespace; `latest` is its newest version.
pub fn run_workflow(namespace: &str, name: &str, version: &str) -> Task<Run> {
    Task::new("run", json!({ "workflow": { "namespace": namespace, "name": name, "version": version } }))
}

impl Task<Run> {
    /// Its input, an object whose values may be expressions.
    pub fn input(self, input: Value) -> Self {
        self.inside(&["run", "workflow", "input"], input)
    }

    /// Does not wait for its end.
    pub fn detached(self) -> Self {
        self.inside(&["run", "await"], false)
    }

    /// Does not take its output.
    pub fn without_output(self) -> Self {
        self.inside(&["run", "return"], "none")
    }
}

/// Makes a value. Texts such as `${ .a }` are expressions, see [`super::expr`].
pub fn set(value: Value) -> Task<Set> {
    Task::new("set", value)
}

/// Makes a value with one expression.
pub fn set_expression(jq: &str) -> Task<Set> {
    Task::new("set", super::expr(jq))
}

/// A list as one task.
pub fn do_(tasks: Tasks) -> Task<Do> {
    Task::new("do", tasks.value())
}

/// Runs tasks for each item of a list: an expression, or an array of objects.
///
/// ```
/// use stepmill_definition::build::{Tasks, Workflow, call, for_each};
/// let body = Tasks::new().task("pack", call("pack"));
/// let flow = Workflow::new("shop", "pack", "1.0.0").task("each", for_each(".items", body).variable("order").concurrency(8));
/// flow.compile().unwrap();
/// ```
pub fn for_each(list: impl Into<Value>, tasks: Tasks) -> Task<For> {
    Task::new("for", json!({ "in": list.into() })).field("do", tasks.value())
}

impl Task<For> {
    /// The variable that holds the item, without `$`; `item` unless said.
    pub fn variable(self, name: &str) -> Self {
        self.inside(&["for", "each"], name)
    }

    /// The variable that holds the index, without `$`; `index` unless said.
    pub fn index(self, name: &str) -> Self {
        self.inside(&["for", "at"], name)
    }

    /// Goes on only while this holds.
    pub fn while_(self, condition: &str) -> Self {
        self.field("while", condition)
    }

    /// How many iterations run at a time.
    pub fn concurrency(self, n: u32) -> Self {
        self.metadata("concurrency", n)
    }

    /// When iterations that run at a time are done.
    pub fn join(self, join: Join) -> Self {
        joined(self, join)
    }
}

fn joined<K>(task: Task<K>, join: Join) -> Task<K> {
    match join {
        Join::All => task.metadata("join", "all"),
        Join::Settled => task.metadata("onFailure", "continue"),
        Join::First => task.metadata("join", "first"),
        Join::Any => task.metadata("join", "any"),
        Join::Count(n) => task.metadata("join", json!({ "count": n })),
    }
}

/// Runs all tasks at once.
pub fn fork(branches: Tasks) -> Task<Fork> {
    Task::new("fork", json!({ "branches": branches.value() }))
}

impl Task<Fork> {
    /// The first that ends wins, the others are cancelled.
    pub fn compete(self) -> Self {
        self.inside(&["fork", "compete"], true)
    }

    /// When the branches are done.
    pub fn join(self, join: Join) -> Self {
        joined(self, join)
    }
}

/// Goes where the first case that holds leads.
pub fn switch() -> Task<Switch> {
    Task::new("switch", json!([]))
}

impl Task<Switch> {
    /// Adds a case.
    pub fn case(self, name: &str, when: &str, then: impl Into<Then>) -> Self {
        self.push(name, json!({ "when": when, "then": then.into().text() }))
    }

    /// Adds the case for everything else.
    pub fn otherwise(self, name: &str, then: impl Into<Then>) -> Self {
        self.push(name, json!({ "then": then.into().text() }))
    }

    fn push(mut self, name: &str, case: Value) -> Self {
        if let Some(Value::Array(cases)) = self.fields.get_mut("switch") {
            cases.push(Value::Object(serde_json::Map::from_iter([(name.to_owned(), case)])));
        }
        self
    }
}

/// Runs tasks and catches their errors; [`Task::catch`] says what then.
pub fn try_(tasks: Tasks) -> Task<Try> {
    Task::new("try", tasks.value()).field("catch", json!({}))
}

impl Task<Try> {
    /// What happens to errors.
    pub fn catch(self, catch: Catch) -> Self {
        self.field("catch", Value::Object(catch.0))
    }
}

/// Fails with this error.
pub fn raise(error: Problem) -> Task<Raise> {
    Task::new("raise", json!({ "error": error.0 }))
}

/// Fails with an error of the workflow, see [`super::Workflow::define_error`].
pub fn raise_named(name: &str) -> Task<Raise> {
    Task::new("raise", json!({ "error": name }))
}

/// Waits.
pub fn wait(length: impl Into<Length>) -> Task<Wait> {
    Task::new("wait", length.into().0)
}
