//! A coordinator and the user's own worker in one process, for development and for tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stepmill_coordinator::store::embedded::OpenError;
use stepmill_coordinator::{Running, StartError};
use stepmill_protocol::api::{DefineResponse, RunState, SubmitRequest};
use stepmill_protocol::id::InvalidId;
use stepmill_protocol::link::ApiCaller;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Client, Namespace, Problem, Value, WorkflowName};
use stepmill_worker::{CancellationToken, WorkerBuilder, WorkerError};

use crate::assemble::{self, Storage, Workers};

/// How long a worker's fetch waits, and so how long [`Local::stop`] may take.
const FETCH_WAIT: Duration = Duration::from_millis(200);

/// Why a local system did not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The coordinator.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A name has the wrong form.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// A whole system in this process: coordinator, workers and client on the embedded adapters. What a run goes through is the
/// same as in production; only the adapters differ.
///
/// ```
/// use serde::Deserialize;
/// use stepmill::worker::{Context, Failure};
/// use stepmill::Local;
///
/// #[derive(Deserialize)]
/// struct Guest { name: String }
///
/// async fn greet(_ctx: Context, guest: Guest) -> Result<String, Failure> {
///     Ok(format!("Hello, {}!", guest.name))
/// }
///
/// const WELCOME: &str = r#"
/// document: { dsl: '1.0.3', namespace: default, name: welcome, version: '1.0.0' }
/// do:
///   - sayHello: { call: greet, with: { name: '${ .who }' } }
/// "#;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let local = Local::start(|worker| worker.step("greet", greet)).await?;
/// local.define(WELCOME).await?;
/// let output = local.run("welcome", &serde_json::json!({ "who": "Ann" })).await?;
/// assert_eq!(output, "Hello, Ann!");
/// local.stop().await?;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Local {
    client: Client,
    caller: Arc<dyn ApiCaller>,
    running: Running,
    workers: Workers,
    stop: CancellationToken,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Puts a [`Local`] together.
#[derive(Default)]
pub struct LocalBuilder {
    file: Option<PathBuf>,
    namespace: Option<String>,
    workers: Vec<Setup>,
}

type Setup = Box<dyn FnOnce(WorkerBuilder) -> WorkerBuilder + Send>;

impl std::fmt::Debug for LocalBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalBuilder")
            .field("file", &self.file)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

impl LocalBuilder {
    /// Keeps everything in this file, so that the next start goes on where this one ended. In memory unless said.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// The namespace of [`Local::client`]; `default` unless said.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// Adds a worker. Call it once per pool: `.worker(|w| w.step("greet", greet)).worker(|w| w.pool("llm").step("llm", model))`.
    #[must_use]
    pub fn worker(mut self, setup: impl FnOnce(WorkerBuilder) -> WorkerBuilder + Send + 'static) -> Self {
        self.workers.push(Box::new(setup));
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`LocalError`] when the file is in use, or a worker was put together wrongly.
    pub async fn start(self) -> Result<Local, LocalError> {
        let namespace = Namespace::new(self.namespace.as_deref().unwrap_or("default"))?;
        let storage = self.file.map_or(Storage::Memory, Storage::File);
        let system = assemble::embedded(&storage, None, None).await?;
        let stop = CancellationToken::new();
        let mut workers = Workers::new(stop.clone());
        for setup in self.workers {
            let builder =
                WorkerBuilder::fetch_wait(stepmill_worker::Worker::builder(Arc::clone(&system.link)), FETCH_WAIT);
            workers.add(setup(builder))?;
        }
        let client = Client::new(Arc::clone(&system.caller), namespace);
        Ok(Local { client, caller: system.caller, running: system.running, workers, stop })
    }
}

impl Local {
    /// Begins one with more to say than [`Local::start`] takes.
    #[must_use]
    pub fn builder() -> LocalBuilder {
        LocalBuilder::default()
    }

    /// Starts a system in memory with one worker of pool `default`, on which `setup` registers the steps.
    ///
    /// # Errors
    /// [`LocalError`] when the worker was put together wrongly.
    pub async fn start(
        setup: impl FnOnce(WorkerBuilder) -> WorkerBuilder + Send + 'static,
    ) -> Result<Self, LocalError> {
        Self::builder().worker(setup).start().await
    }

    /// A client for everything that the API offers.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of another namespace.
    #[must_use]
    pub fn client_of(&self, namespace: Namespace) -> Client {
        Client::new(Arc::clone(&self.caller), namespace)
    }

    /// Registers a definition, YAML or JSON.
    ///
    /// # Errors
    /// The [`Problem`] that the definition has.
    pub async fn define(&self, source: &str) -> Result<DefineResponse, Problem> {
        self.client.define(source).await
    }

    /// Runs a workflow to its end and gives its output.
    ///
    /// # Errors
    /// The run's own error when it does not complete; a [`Problem`] when it cannot be started.
    pub async fn run<T: Serialize + Sync + ?Sized>(&self, workflow: &str, input: &T) -> Result<Value, Problem> {
        let wrong = |e: &dyn std::fmt::Display| Problem::standard(Standard::Validation, e.to_string());
        let workflow = WorkflowName::new(workflow).map_err(|e| wrong(&e))?;
        let input = serde_json::to_value(input).map_err(|e| wrong(&e))?;
        let request = SubmitRequest { workflow, version: None, input, key: None };
        let run = self.client.submit(&request).await?.run;
        let view = self.client.result(run).await?;
        match view.state {
            RunState::Completed => Ok(view.output.unwrap_or_default()),
            RunState::Running | RunState::Faulted | RunState::Cancelled | RunState::Parked => {
                Err(view.error.unwrap_or_else(|| {
                    Problem::standard(Standard::Runtime, format!("run {run} is {}", view.state.as_str()))
                }))
            }
        }
    }

    /// Stops in order: workers finish what they run, the coordinator finishes its batches. Dropping it stops at once.
    ///
    /// # Errors
    /// [`LocalError::Worker`] when a worker had failed.
    pub async fn stop(self) -> Result<(), LocalError> {
        self.stop.cancel();
        let ended = self.workers.join().await;
        self.running.drain().await;
        Ok(ended?)
    }
}
