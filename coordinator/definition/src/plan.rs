//! The plan: a compiled definition as a numbered table of nodes. The engine walks it; nothing outside of this package makes
//! one. All names are resolved, all expressions compiled, all constants checked.

mod event;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::{Digest, Namespace, PoolName, Priority, StepKind, StepPath, Version, WorkflowName};

pub use self::event::{Consumption, Correlation, Filter, Foreach, Listen, Mode, ReadAs, Until, Wanted};
use crate::expression::Expression;
use crate::schema::Schema;

/// The place of a node in [`Plan::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// A compiled definition.
#[derive(Debug)]
pub struct Plan {
    /// Address of the source it was compiled from.
    pub digest: Digest,
    /// `document.namespace`.
    pub namespace: Namespace,
    /// `document.name`.
    pub name: WorkflowName,
    /// `document.version`.
    pub version: Version,
    /// All nodes; children may have smaller or larger numbers than their parents.
    pub nodes: Vec<Node>,
    /// The workflow's own `do`.
    pub root: NodeId,
    /// The workflow's `input` and `output`.
    pub flow: DataFlow,
    /// The workflow's `timeout.after`.
    pub timeout: Option<DurationSpec>,
    /// `schedule`: when it starts by itself.
    pub schedule: Option<Schedule>,
    /// `use.secrets`: the names that expressions may refer to as `$secrets.<name>`.
    pub secrets: Vec<String>,
    /// The `document` block as JSON.
    pub document: Value,
    /// The whole definition as JSON (for `$workflow.definition`); none where its text names no `$workflow`.
    pub definition: Option<Value>,
    /// `metadata.compensate`: from a task to the node that undoes it. That node lies in no list; its input is an object with
    /// `input` and `output`, which are the task's, and it fails when trying again has not helped.
    pub compensations: BTreeMap<NodeId, NodeId>,
}

/// When a workflow starts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Once in each interval.
    Every(stepmill_protocol::Millis),
    /// At the times of a cron pattern, in UTC.
    Cron(String),
    /// At once, and this long after each end.
    After(stepmill_protocol::Millis),
    /// For each set of events.
    On {
        /// Which events, as the definition has them.
        events: Value,
        /// What the run gets of each.
        read: ReadAs,
    },
}

impl Plan {
    /// The node with this number.
    ///
    /// # Panics
    /// Never for a number that this plan gave out.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The node with this number, or none when a stored state names one that the plan does not have.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }
}

/// One task of the definition.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its JSON pointer, for instance `/do/1/charge`.
    pub path: StepPath,
    /// Its name (the last part of the path, unescaped); lists that have no name of their own (`do` blocks of a `for`, a
    /// `catch` …) carry the name of their owner.
    pub name: Arc<str>,
    /// The node that contains it; none for the root.
    pub parent: Option<NodeId>,
    /// `if`: when false the task is skipped and its input is its output.
    pub condition: Option<Expression>,
    /// `input`, `output`, `export`.
    pub flow: DataFlow,
    /// `timeout.after`, inline or by reference to `use.timeouts`.
    pub timeout: Option<DurationSpec>,
    /// `then`, resolved. [`Next::Continue`] where nothing is said.
    pub then: Next,
    /// What it does.
    pub kind: NodeKind,
    /// The task as it stands in the definition (for `$task.definition`).
    pub definition: Value,
    /// What it is, seen from extensions.
    pub part: Part,
}

/// What a node is, seen from the extensions of its workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A task as it stands in the definition.
    Own,
    /// A task that is extended. It lies in a list of the same name and path, between what comes before and after it; where the
    /// token goes after the task, it goes after that list.
    Extended,
    /// Something of an extension around that task: `$task` speaks of the task.
    Around(NodeId),
}

impl Node {
    /// The task that is extended, where this is the list around one.
    pub fn extended<'p>(&self, get: impl Fn(NodeId) -> Option<&'p Node>) -> Option<&'p Node> {
        let NodeKind::Do { children } = &self.kind else { return None };
        children.iter().filter_map(|id| get(*id)).find(|node| node.part == Part::Extended)
    }
}

/// Where a token goes after a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// To the next task of the list that contains this one; after the last one the list ends.
    Continue,
    /// To that task of the same list (forward or backward).
    To(NodeId),
    /// The list that contains the task ends.
    Exit,
    /// The list that contains that list ends as well: `exit` of an extension's `before`.
    Leave,
    /// The whole workflow ends.
    End,
}

/// What a task does.
#[derive(Debug)]
pub enum NodeKind {
    /// A list of tasks, one after the other. A token enters at the first; the output of each is the input of the next;
    /// the list's output is that of its last task.
    Do {
        /// The tasks in order.
        children: Vec<NodeId>,
    },
    /// `set`: its output is the value of the template.
    Set {
        /// The value.
        value: Template,
    },
    /// `switch`: the first case whose `when` holds (or is absent) says where to go. With none: [`Node::then`].
    /// Its output is its input.
    Switch {
        /// The cases in order.
        cases: Vec<Case>,
    },
    /// `for`: runs `body` for each item. One at a time, the output of an iteration is the input of the next and the last
    /// one's is the task's. With `concurrency`, each iteration gets the task's input and the output is the array of
    /// the iterations' outputs in the order of the items.
    For {
        /// The variable (without `$`) that holds the item; `item` unless said.
        each: Arc<str>,
        /// The variable that holds the index, from 0; `index` unless said.
        at: Arc<str>,
        /// Gives the array to go through; evaluated on the task's input.
        items: Template,
        /// Checked before each iteration on the iteration's input; false ends the loop.
        while_: Option<Expression>,
        /// `metadata.concurrency`: how many iterations at a time; none means one after the other.
        concurrency: Option<u32>,
        /// When concurrent iterations are done.
        join: Join,
        /// The list to run (kind [`NodeKind::Do`]).
        body: NodeId,
    },
    /// `fork`: runs all branches at once on the task's input.
    Fork {
        /// The branches (any kind of node).
        branches: Vec<NodeId>,
        /// When they are done. `fork.compete` is [`Join::First`].
        join: Join,
    },
    /// `try`.
    Try {
        /// The list to try (kind [`NodeKind::Do`]).
        body: NodeId,
        /// What to do with an error from it. Boxed to keep nodes small.
        catch: Box<Catch>,
    },
    /// `raise`: fails with this error.
    Raise {
        /// A template whose value is a problem object (`type`, `status`, `title`, `detail`, `instance`).
        error: Template,
    },
    /// `wait`.
    Wait {
        /// How long.
        duration: DurationSpec,
    },
    /// Runs `body` with the value of `with` as its input, as a call of a function of `use.functions` does. Its output is the body's.
    Scope {
        /// The input.
        with: Template,
        /// The function's task (any kind of node).
        body: NodeId,
    },
    /// A step that a worker runs: `call: http`, `call: llm`, `call: <registered step>`. Boxed to keep nodes small.
    Call(Box<Call>),
    /// `listen`. Boxed to keep nodes small.
    Listen(Box<Listen>),
}

/// A step that a worker runs.
#[derive(Debug)]
pub struct Call {
    /// What a worker registered.
    pub kind: StepKind,
    /// The step's input; the token's input where the definition gives no `with`.
    pub with: Option<Template>,
    /// `metadata.pool`; `llm` for `call: llm`, `default` for all others unless said.
    pub pool: PoolName,
    /// `metadata.priority`.
    pub priority: Priority,
    /// Set when this call is the only task of its `try`, the `try`'s retry has no expression and no filter that needs one:
    /// the worker may then have a failed attempt redelivered by the broker under this policy.
    pub broker_retry: Option<stepmill_protocol::RetryPolicy>,
    /// An `emit`: the value of `with` has the field `event`, which is completed to a CloudEvent when the task begins and is its
    /// output; where a worker sends it, the field `endpoint` says where to.
    pub emits: bool,
    /// Set when no worker gets it: the system itself does this, and `pool` is [`PoolName::system`].
    pub system: Option<SystemStep>,
}

/// What the system itself does for a step. Its input is the value of [`Call::with`].
#[derive(Debug)]
pub enum SystemStep {
    /// `run: workflow`: starts a run of the same namespace.
    Workflow {
        /// Which workflow.
        workflow: WorkflowName,
        /// Which version; the newest one unless said.
        version: Option<Version>,
        /// Whether the step waits for its end; else its output is its input.
        wait: bool,
        /// Whether its output is the step's; else that is null.
        give_output: bool,
        /// Whether the run is on its own: one that is not waited for is started while the token goes on, and one that is goes on
        /// when the step is left.
        detached: bool,
    },
    /// `emit`: stores the event, so that runs that listen get it.
    Emit,
}

/// `metadata.join` and `metadata.onFailure`: when branches side by side are done, what they give, and what becomes of an
/// error. Those that are still under way then are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// When all have succeeded. The output is the array of theirs in order; the first error is the task's.
    All,
    /// When all have ended, well or not. The output is an object: `outputs` is the array of theirs, null where one failed, and
    /// `errors` says which those are and why.
    Settled,
    /// When one has ended. Its output or error is the task's.
    First,
    /// When one has succeeded. Its output is the task's; the error is the last one's when all have failed.
    Any,
    /// When so many have succeeded. The output is the array of theirs in order; the error is that which left too few.
    Count(u32),
}

impl Join {
    /// How many branches must succeed, where not all have to.
    #[must_use]
    pub const fn needs(self) -> Option<u64> {
        match self {
            Self::All | Self::Settled => None,
            Self::First | Self::Any => Some(1),
            Self::Count(n) => Some(n as u64),
        }
    }
}

/// One case of a `switch`.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: Arc<str>,
    /// Its condition; none is the default.
    pub when: Option<Expression>,
    /// Where it leads.
    pub then: Next,
}

/// The `catch` of a `try`.
#[derive(Debug)]
pub struct Catch {
    /// `errors.with`: each field that is given must equal that of the error (templates, evaluated at the catch).
    pub with: Vec<(Arc<str>, Template)>,
    /// The variable that holds the error; `error` unless said.
    pub as_: Arc<str>,
    /// Caught only if this holds.
    pub when: Option<Expression>,
    /// Not caught if this holds.
    pub except_when: Option<Expression>,
    /// Try the body again before `body` below is considered.
    pub retry: Option<Retry>,
    /// Runs when the error was caught and no retry is left (kind [`NodeKind::Do`]). None: the task's output is its input, unless
    /// [`Catch::only_retries`].
    pub body: Option<NodeId>,
    /// `catch.then`: where the token goes after the error was caught (and `body` has ended); the task's `then` where nothing is said.
    pub then: Option<Next>,
}

impl Catch {
    /// Whether there is nothing but a retry policy: an error goes on upward when no retry is left.
    #[must_use]
    pub const fn only_retries(&self) -> bool {
        self.retry.is_some() && self.body.is_none() && self.then.is_none()
    }
}

/// A retry policy as the definition has it.
#[derive(Debug)]
pub struct Retry {
    /// Retried only if this holds.
    pub when: Option<Expression>,
    /// Not retried if this holds.
    pub except_when: Option<Expression>,
    /// The first delay.
    pub delay: DurationSpec,
    /// How it grows.
    pub backoff: stepmill_protocol::retry::Backoff,
    /// Added to each delay: from, to.
    pub jitter: Option<(DurationSpec, DurationSpec)>,
    /// `limit.attempt.count`: attempts in all, the first included.
    pub attempts_max: Option<u32>,
    /// `limit.attempt.duration`: how long one pass may take.
    pub attempt_duration: Option<DurationSpec>,
    /// `limit.duration`: no new pass later than this after the first began.
    pub duration_max: Option<DurationSpec>,
}

/// `input`, `output` and `export` of a task or the workflow.
#[derive(Debug, Default)]
pub struct DataFlow {
    /// `input.schema`: checked on the raw input.
    pub input_schema: Option<Arc<Schema>>,
    /// `input.from`.
    pub input_from: Option<Template>,
    /// `output.as`.
    pub output_as: Option<Template>,
    /// `output.schema`: checked on the transformed output.
    pub output_schema: Option<Arc<Schema>>,
    /// `export.as`: its value becomes `$context`.
    pub export_as: Option<Template>,
    /// `export.schema`: checked on the new context.
    pub export_schema: Option<Arc<Schema>>,
}

/// A value with expressions in it.
#[derive(Debug)]
pub enum Template {
    /// No expression inside.
    Const(Arc<Value>),
    /// One expression.
    Expr(Expression),
    /// An array, at least one of whose items is not constant.
    Array(Vec<Template>),
    /// An object, at least one of whose values is not constant. In the order of the definition.
    Object(Vec<(String, Template)>),
}

/// A duration, known or to be evaluated.
#[derive(Debug)]
pub enum DurationSpec {
    /// Milliseconds.
    Const(stepmill_protocol::Millis),
    /// An expression or template that gives an ISO 8601 text or an object of days, hours, minutes, seconds, milliseconds;
    /// [`crate::duration::from_value`] reads it.
    Template(Template),
}
