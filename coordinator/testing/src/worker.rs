//! The worker of a case: decides as every worker does, but its handlers are mocks.

use serde_json::Value;
use stepmill_definition::Place;
use stepmill_definition::expression::{ExpressionError, Variables};
use stepmill_definition::plan::NodeId;
use stepmill_protocol::limit::VALUE_BYTES_MAX;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{
    AttemptNo, CommandId, Event, MayRun, Millis, Payload, Problem, SecretScope, StepKind, Task, Timestamp, Usage,
    ValueId, codec,
};
use stepmill_worker_engine::{Arrival, Attempt, Command, Event as WorkerEvent, Fault, Finish};

use crate::mock::{NoAnswer, What, choose};
use crate::names::is_call;
use crate::outcome::{Failure, Sent};
use crate::world::World;

/// The step that sends events.
const EMIT: &str = "emit";

/// A delivery whose handler is at work.
#[derive(Debug)]
pub(crate) struct Work {
    id: CommandId,
    deliveries: u64,
    attempt: Attempt,
    finish: Finish,
}

/// One delivery while it is decided on.
struct Delivery {
    task: Task,
    deliveries: u64,
    input: Value,
}

impl World<'_> {
    /// A task has come to a worker.
    pub(crate) fn deliver(&mut self, id: CommandId, deliveries: u64) {
        let Some(task) = self.tasks.get(&id).cloned() else { return };
        let served = [task.kind.clone()];
        let arrival = Arrival { task: Ok(&task), deliveries, again: false, served: &served, worker: "test" };
        let (attempt, command) = Attempt::begin(&arrival);
        let input = match &task.input {
            Payload::Inline(value) => value.clone(),
            Payload::Ref { .. } => Value::Null,
        };
        self.go_on(Delivery { task, deliveries, input }, attempt, Some(command));
    }

    /// A handler is through.
    pub(crate) fn finish(&mut self, work: Work) {
        let Work { id, deliveries, attempt, finish } = work;
        let Some(task) = self.tasks.get(&id).cloned() else { return };
        let (attempt, command) = attempt.on(WorkerEvent::Finished(finish));
        self.go_on(Delivery { task, deliveries, input: Value::Null }, attempt, command);
    }

    /// Does what the machine of a delivery says, until it waits for the handler or ends.
    fn go_on(&mut self, mut delivery: Delivery, mut attempt: Attempt, mut command: Option<Command>) {
        while let Some(next) = command {
            let event = match next {
                Command::Ask => WorkerEvent::Answered(self.may_run(&delivery.task)),
                Command::FetchValue(value) => match self.value(&delivery.task, value) {
                    Ok(value) => {
                        delivery.input = value;
                        WorkerEvent::ValueArrived
                    }
                    Err(problem) => WorkerEvent::Refused(problem),
                },
                Command::Run { attempt: number } => return self.work(delivery, attempt, number),
                Command::Report { .. } => {
                    if let Some(report) = attempt.report().cloned() {
                        self.fold(&Event::Report(Box::new(report)));
                    }
                    WorkerEvent::Stored
                }
                Command::Bury { .. } => WorkerEvent::Stored,
                Command::Ack => WorkerEvent::Settled,
                Command::Nak { delay } => {
                    self.deliver_at(self.now.plus(delay), delivery.task.id, delivery.deliveries + 1);
                    WorkerEvent::Settled
                }
                Command::End(_) => return,
            };
            (attempt, command) = attempt.on(event);
        }
    }

    fn may_run(&self, task: &Task) -> MayRun {
        self.run.as_ref().map_or(MayRun::Stale, |run| run.may_run(&task.id, &task.token, self.now))
    }

    fn value(&self, task: &Task, value: ValueId) -> Result<Value, Problem> {
        match &self.run {
            Some(run) => run.value_for(&task.id, &task.token, value).map(|value| value.as_ref().clone()),
            None => Err(Problem::own("not-found", 404, "Not found", "there is no run")),
        }
    }

    /// The handler begins.
    fn work(&mut self, delivery: Delivery, attempt: Attempt, number: AttemptNo) {
        let Delivery { task, deliveries, mut input } = delivery;
        let Some(node) =
            self.names.plan.nodes.iter().find(|node| node.path == task.path && is_call(node)).map(|node| node.id)
        else {
            return;
        };
        if let Some(scope) = &task.secrets {
            show_secrets(scope, &mut input);
        }
        self.note(node, &task, number, &input, deliveries);
        let Some(answer) = self.answer(node, &task, &input) else { return };
        let end = match (answer.takes.map(|takes| self.now.plus(takes)), task.deadline) {
            (Some(end), Some(deadline)) if end < deadline => end,
            (Some(end), None) => end,
            (Some(_) | None, Some(deadline)) => {
                let finish = finish(Err(too_late(number)), deadline.since(self.now), answer.usage, deadline, Millis(0));
                let end = deadline.max(self.now);
                return self.finish_at(end, Box::new(Work { id: task.id, deliveries, attempt, finish }));
            }
            // It hangs, and nothing ends it.
            (None, None) => return,
        };
        if task.kind.as_str() == EMIT && answer.result.is_ok() {
            self.trail.emitted.extend(input.get("event").cloned());
        }
        let backoff = match (&answer.result, &task.retry) {
            // The jitter of a worker is chance; here it is always the least.
            (Err(_), Some(policy)) => policy.delay(number.0, 0),
            (Ok(_) | Err(_), Some(_) | None) => Millis(0),
        };
        let finish = finish(answer.result, end.since(self.now), answer.usage, end, backoff);
        self.finish_at(end, Box::new(Work { id: task.id, deliveries, attempt, finish }));
    }

    fn note(&mut self, node: NodeId, task: &Task, number: AttemptNo, input: &Value, deliveries: u64) {
        let sent = Sent {
            step: self.names.shown(node),
            call: task.kind.to_string(),
            pool: task.pool.to_string(),
            priority: task.priority,
            input: input.clone(),
            attempt: number.0,
            at: self.elapsed(),
        };
        self.trail.sent.push((node, sent));
        // An attempt by redelivery is one more pass over the step, as it is when the engine dispatches it.
        if deliveries > 1 {
            self.trail.path.push(node);
        }
    }

    fn answer(&mut self, node: NodeId, task: &Task, input: &Value) -> Option<Given> {
        let reply = match choose(&mut self.mocks, node, input) {
            Ok(reply) => reply,
            // What is sent needs no answer to go on with.
            Err(NoAnswer::NotMocked) if task.kind.as_str() == EMIT => {
                return Some(Given { result: Ok(Value::Null), takes: Some(Millis(0)), usage: None });
            }
            Err(no) => {
                let failure = self.unanswered(node, &task.kind, input, no);
                self.stop(failure);
                return None;
            }
        };
        let usage = reply.usage;
        let takes = Some(reply.latency);
        let is_model = task.kind.as_str() == "llm";
        Some(match &reply.what {
            What::Hangs => Given { result: Ok(Value::Null), takes: None, usage: usage.or(is_model.then(one_call)) },
            What::Fails { problem, retryable, retry_after } => {
                let fault = Fault { problem: problem.clone(), retryable: *retryable, retry_after: *retry_after };
                Given { result: Err(fault), takes, usage: usage.or(is_model.then(one_call)) }
            }
            What::Gives(template) => match template.evaluate(input, &Variables::default()) {
                Ok(value) => {
                    let usage = usage.or_else(|| is_model.then(|| used(&value)));
                    Given { result: measured(value.as_ref().clone(), task), takes, usage }
                }
                Err(e) => {
                    let place = reply.place.clone();
                    let failure = self.no_result(node, input, &place, &e);
                    self.stop(failure);
                    return None;
                }
            },
        })
    }

    /// The result of a mock is no value.
    pub(crate) fn no_result(&self, node: NodeId, input: &Value, place: &Place, e: &ExpressionError) -> Failure {
        let message = format!("the result of the mock of `{}` cannot be evaluated: {e}", self.names.shown(node));
        Failure::new("mock", place, message, format!("the step's input was {}", brief(input)))
    }

    /// A step has no answer.
    pub(crate) fn unanswered(&self, node: NodeId, kind: &StepKind, input: &Value, no: NoAnswer) -> Failure {
        let step = self.names.shown(node);
        let was = format!("its input was {}", brief(input));
        match no {
            NoAnswer::NotMocked => {
                let message = format!("the step `{step}` (call: {kind}) has no mock");
                let example = example(kind.as_str());
                let help = format!("{was}\nadd to the case:\n  mocks:\n    {step}: {example}");
                Failure::new("not-mocked", self.case_place(), message, help)
            }
            NoAnswer::NoneLeft { place, step, answered } => {
                let times = if answered == 1 { "answer" } else { "answers" };
                let message =
                    format!("the mock of `{step}` has no answer left for this attempt, after {answered} {times}");
                let help = format!("{was}\nadd an answer, or `times: always` to the last one");
                Failure::new("no-answer-left", &place, message, help)
            }
            NoAnswer::Wrong { place, reason } => {
                Failure::new("mock", &place, format!("`when` of a mock cannot be evaluated: {reason}"), was)
            }
        }
    }
}

/// What a handler gives, and after how long; never where it hangs.
struct Given {
    result: Result<Value, Fault>,
    takes: Option<Millis>,
    usage: Option<Usage>,
}

fn finish(result: Result<Value, Fault>, took: Millis, usage: Option<Usage>, now: Timestamp, backoff: Millis) -> Finish {
    Finish { result, took, usage, now, backoff }
}

fn one_call() -> Usage {
    Usage { model_calls: 1, ..Usage::default() }
}

/// What a call of a model used up by its own word.
fn used(result: &Value) -> Usage {
    let tokens = |field: &str| result.pointer(field).and_then(Value::as_u64).unwrap_or(0);
    let (tokens_in, tokens_out) = (tokens("/usage/tokens_in"), tokens("/usage/tokens_out"));
    Usage { tokens_in, tokens_out, ..one_call() }
}

fn too_late(number: AttemptNo) -> Fault {
    let text = format!("attempt {number} was not through when the step's timeout ended");
    Fault { problem: Problem::standard(Standard::Timeout, text), retryable: false, retry_after: None }
}

/// A worker refuses results that no run may hold.
fn measured(value: Value, task: &Task) -> Result<Value, Fault> {
    if codec::pack(&value).is_ok_and(|bytes| bytes.len() <= VALUE_BYTES_MAX) {
        return Ok(value);
    }
    let text = format!("the result of `{}` has more than {VALUE_BYTES_MAX} bytes (VALUE_BYTES_MAX)", task.kind);
    Err(Fault { problem: Problem::standard(Standard::Validation, text), retryable: false, retry_after: None })
}

/// Puts `<secret NAME>` where a worker puts the secret.
fn show_secrets(scope: &SecretScope, value: &mut Value) {
    match value {
        Value::String(text) => {
            for name in &scope.names {
                let reference = scope.reference(name);
                if text.contains(&reference) {
                    *text = text.replace(&reference, &format!("<secret {name}>"));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| show_secrets(scope, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| show_secrets(scope, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The beginning of a value's text.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A mock to begin with.
fn example(kind: &str) -> &'static str {
    match kind {
        "llm" => "{ result: { content: … } }",
        _ => "{ result: … }",
    }
}
