//! The workflows of the benches.

use serde_json::{Value, json};
use stepmill_protocol::api::SubmitRequest;
use stepmill_protocol::{Client, WorkflowName};

use crate::error::CliError;
use crate::follow::patiently;

/// A number that is computed in next to no time.
const FIBONACCI_OF: u64 = 10;
/// What [`FIBONACCI_OF`] gives.
const FIBONACCI_IS: u64 = 55;

/// A workflow, and what each of its runs must give.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) name: WorkflowName,
    source: String,
    gives: Gives,
}

#[derive(Clone, Debug)]
enum Gives {
    Input,
    Items(usize),
    This(Value),
    /// Not looked at: it is not waited for.
    Anything,
}

/// What a waiting run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wait {
    /// A `wait` of a day
    Time,
    /// A task of a pool without workers
    Task,
}

impl Wait {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Task => "task",
        }
    }
}

impl Flow {
    /// No-op steps in a row; each takes and gives the input.
    pub(crate) fn chain(client: &Client, steps: usize) -> Result<Self, CliError> {
        let tasks = (1..=steps).map(|n| step(n, json!({ "call": "noop" }))).collect();
        Self::new(client, &format!("bench-chain-{steps}"), tasks, Gives::Input)
    }

    /// No-op steps side by side, and a join.
    pub(crate) fn fanout(client: &Client, width: usize) -> Result<Self, CliError> {
        let work = json!({ "call": "noop", "with": { "n": "${ $item }" } });
        let all = json!({
            "for": { "in": format!("${{ [range({width})] }}") }, "metadata": { "concurrency": width },
            "do": [{ "work": work }],
        });
        Self::new(client, &format!("bench-fanout-{width}"), vec![step(1, all)], Gives::Items(width))
    }

    /// Steps in a row, each of which computes a Fibonacci number.
    pub(crate) fn fibonacci(client: &Client, steps: usize) -> Result<Self, CliError> {
        let call = json!({ "call": "fibonacci", "with": { "n": FIBONACCI_OF } });
        let tasks = (1..=steps).map(|n| step(n, call.clone())).collect();
        Self::new(client, &format!("bench-fibonacci-{steps}"), tasks, Gives::This(json!(FIBONACCI_IS)))
    }

    /// Steps in a row that sleep.
    pub(crate) fn sleeping(client: &Client, steps: usize, ms: u32) -> Result<Self, CliError> {
        let call = json!({ "call": "sleep", "with": { "ms": ms } });
        let tasks = (1..=steps).map(|n| step(n, call.clone())).collect();
        Self::new(client, &format!("bench-sleep-{steps}-{ms}"), tasks, Gives::This(Value::Null))
    }

    /// Steps in a row of which `done` are done at once; then the run waits for something that does not come.
    pub(crate) fn waiting(client: &Client, steps: usize, done: usize, wait: Wait) -> Result<Self, CliError> {
        let mut tasks: Vec<Value> = (1..=steps).map(|n| step(n, json!({ "call": "noop" }))).collect();
        let blocked = match wait {
            Wait::Time => json!({ "pause": { "wait": { "days": 1 } } }),
            Wait::Task => json!({ "blocked": { "call": "noop", "metadata": { "pool": "nobody" } } }),
        };
        tasks.insert(done.min(steps), blocked);
        let name = format!("bench-waiting-{steps}-{done}-{}", wait.as_str());
        Self::new(client, &name, tasks, Gives::Anything)
    }

    /// Ends as soon as it begins.
    pub(crate) fn nothing(client: &Client) -> Result<Self, CliError> {
        let tasks = vec![step(1, json!({ "set": { "done": true } }))];
        Self::new(client, "bench-nothing", tasks, Gives::This(json!({ "done": true })))
    }

    /// One no-op step many times over, one after the other.
    pub(crate) fn long(client: &Client, steps: usize) -> Result<Self, CliError> {
        let work = json!({ "call": "noop", "with": { "n": "${ $item }" } });
        let all = json!({ "for": { "in": format!("${{ [range({steps})] }}") }, "do": [{ "work": work }] });
        Self::new(client, &format!("bench-long-{steps}"), vec![step(1, all)], Gives::Anything)
    }

    /// A loop that only computes.
    pub(crate) fn counting(client: &Client, iterations: usize) -> Result<Self, CliError> {
        let add = json!({ "add": { "set": { "sum": "${ (.sum // 0) + $item }" } } });
        let all = json!({ "for": { "in": format!("${{ [range({iterations})] }}") }, "do": [add] });
        let sum = iterations as u64 * (iterations as u64).saturating_sub(1) / 2;
        let name = format!("bench-counting-{iterations}");
        Self::new(client, &name, vec![step(1, all)], Gives::This(json!({ "sum": sum })))
    }

    /// A no-op step for each item, so many at a time.
    pub(crate) fn gathering(client: &Client, items: usize, concurrency: usize) -> Result<Self, CliError> {
        let work = json!({ "call": "noop", "with": { "n": "${ $item }" } });
        let all = json!({
            "for": { "in": format!("${{ [range({items})] }}") }, "metadata": { "concurrency": concurrency },
            "do": [{ "work": work }],
        });
        let name = format!("bench-gathering-{items}-{concurrency}");
        Self::new(client, &name, vec![step(1, all)], Gives::Items(items))
    }

    fn new(client: &Client, name: &str, tasks: Vec<Value>, gives: Gives) -> Result<Self, CliError> {
        let namespace = client.namespace().as_str();
        let document = json!({ "dsl": "1.0.3", "namespace": namespace, "name": name, "version": "1.0.0" });
        let source = json!({ "document": document, "do": tasks }).to_string();
        let name = WorkflowName::new(name).map_err(|e| CliError::new(e.to_string()))?;
        Ok(Self { name, source, gives })
    }

    /// Registers it.
    pub(crate) async fn define(&self, client: &Client) -> Result<(), CliError> {
        patiently(|| client.define(&self.source)).await.map(drop)
    }

    /// Asks for a run. A key makes the submission safe to repeat.
    pub(crate) fn request(&self, input: Value) -> SubmitRequest {
        let key = Some(uuid::Uuid::new_v4().to_string());
        SubmitRequest { workflow: self.name.clone(), version: None, input, key }
    }

    /// Whether a run with this input had to give this output.
    pub(crate) fn is_right(&self, input: &Value, output: Option<&Value>) -> bool {
        match &self.gives {
            Gives::Input => output == Some(input),
            Gives::Items(count) => output.and_then(Value::as_array).is_some_and(|items| items.len() == *count),
            Gives::This(wanted) => output.unwrap_or(&Value::Null) == wanted,
            Gives::Anything => true,
        }
    }
}

fn step(n: usize, task: Value) -> Value {
    json!({ format!("step{n}"): task })
}
