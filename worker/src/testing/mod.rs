//! For users' tests: runs a handler in memory, with a chosen attempt, deadline and secrets, exactly as a worker would.

pub mod link;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmill_protocol::{
    AttemptNo, CommandId, Millis, Namespace, PartitionNo, Pass, Payload, PoolName, Priority, RunId, StepKind, StepPath,
    Task, TaskToken, Usage, Visit, WorkflowName,
};
use stepmill_worker_engine::Fault;
use tokio_util::sync::CancellationToken;

pub use link::{Act, Call, MemoryLink};

use crate::clock;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::{Handler, Typed};
use crate::perform;
use crate::secret::Secrets;

/// One attempt at a handler, in memory.
///
/// ```
/// use stepmill_worker::{Context, Failure, testing::TryStep};
///
/// async fn double(ctx: Context, n: u64) -> Result<u64, Failure> {
///     if ctx.attempt().0 == 1 { Err(Failure::retryable("not yet")) } else { Ok(2 * n) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// assert!(TryStep::new().run(double, &21).await.result.is_err());
/// assert_eq!(TryStep::new().attempt(2).run(double, &21).await.result.unwrap(), 42);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct TryStep {
    task: Task,
    left: Option<Duration>,
    secrets: BTreeMap<String, String>,
    cancel: CancellationToken,
}

/// How it went.
#[derive(Debug)]
pub struct Tried<Out> {
    /// The handler's result, after serde, panics, deadline and size limit.
    pub result: Result<Out, Failure>,
    /// What it used up.
    pub usage: Option<Usage>,
}

impl Default for TryStep {
    fn default() -> Self {
        Self::new()
    }
}

impl TryStep {
    /// The first attempt at a step without a deadline.
    #[must_use]
    pub fn new() -> Self {
        Self { task: task("step"), left: None, secrets: BTreeMap::new(), cancel: CancellationToken::new() }
    }

    /// Another attempt than the first.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.task.attempt = AttemptNo(attempt);
        self
    }

    /// Another pass (block retry) than the first.
    #[must_use]
    pub fn pass(mut self, pass: u32) -> Self {
        self.task.id.pass = Pass(pass);
        self
    }

    /// A deadline this far from now.
    #[must_use]
    pub fn deadline_in(mut self, left: Duration) -> Self {
        self.left = Some(left);
        self
    }

    /// A secret, for inputs that hold [`TryStep::secret_reference`].
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        let scope = self.task.secrets.get_or_insert_with(scope);
        scope.names.push(name.to_owned());
        self.secrets.insert(Secrets::variable(name), value.to_owned());
        self
    }

    /// What stands in an input for a secret.
    #[must_use]
    pub fn secret_reference(name: &str) -> String {
        scope().reference(name)
    }

    /// The token that the handler sees; cancel it to see how the handler takes that.
    #[must_use]
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Makes the attempt.
    pub async fn run<In, Out>(mut self, handler: impl Handler<In, Out>, input: &impl Serialize) -> Tried<Out>
    where
        In: DeserializeOwned + Send + 'static,
        Out: Serialize + DeserializeOwned + Send + 'static,
    {
        self.task.deadline = self.left.map(|left| clock::now().plus(Millis::from(left)));
        let input = match serde_json::to_value(input) {
            Ok(input) => input,
            Err(e) => return Tried { result: Err(Failure::from(e).into_terminal()), usage: None },
        };
        let ctx = Context::new(&self.task, self.task.attempt, self.cancel);
        let handler = Typed::new(handler);
        let finish = perform::perform(&handler, &Secrets::of(self.secrets), &self.task, input, ctx).await;
        let result = match finish.result {
            Ok(output) => serde_json::from_value(output).map_err(Failure::from),
            Err(Fault { problem, retryable, retry_after }) => {
                let failure = Failure::new(problem, retryable);
                Err(match retry_after {
                    Some(delay) => failure.retry_after(delay.into()),
                    None => failure,
                })
            }
        };
        Tried { result, usage: finish.usage }
    }
}

/// A task of some run, asking for the first attempt at a step of this kind on `null`.
///
/// # Panics
/// When `kind` is no step kind.
#[must_use]
#[allow(clippy::expect_used, reason = "for tests, where a wrong name should end the test")]
pub fn task(kind: &str) -> Task {
    Task {
        id: CommandId { run: RunId(uuid::Uuid::new_v4()), visit: Visit(1), pass: Pass(0), dispatch: 1 },
        namespace: Namespace::new("default").expect("a namespace"),
        workflow: WorkflowName::new("test").expect("a workflow name"),
        partition: PartitionNo(0),
        path: StepPath(format!("/do/0/{kind}").into()),
        attempt: AttemptNo(1),
        token: TaskToken([7; 16]),
        kind: StepKind::new(kind).expect("a step kind"),
        pool: PoolName::new("default").expect("a pool name"),
        priority: Priority::Normal,
        input: Payload::Inline(serde_json::Value::Null),
        deadline: None,
        retry: None,
        secrets: None,
    }
}

fn scope() -> stepmill_protocol::SecretScope {
    stepmill_protocol::SecretScope { mark: "\u{2063}test:".into(), names: Vec::new() }
}
