//! Drives the worker engine for one delivery: carries out each command, answers with the event, frees the slot once
//! the report is stored.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::link::{AckId, Delivery, LinkError, WorkerLink};
use stepmill_protocol::{
    AskAnswer, AskRequest, AttemptNo, DeadLetter, Event as Happened, LogRecord, Payload, Problem, RunId, StepKind,
    Task, ValueId,
};
use stepmill_worker_engine::{Arrival, Attempt, Command, Ending, Event};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::context::Context;
use crate::heartbeat::InFlight;
use crate::measures::{Measures, OfKind};
use crate::registry::Registry;
use crate::retry::{Growing, RetrySchedule};
use crate::{clock, limit, perform};

/// What all deliveries of a worker share.
pub(crate) struct Runner {
    pub(crate) link: Arc<dyn WorkerLink>,
    pub(crate) registry: Registry,
    pub(crate) kinds: Vec<StepKind>,
    pub(crate) settings: Settings,
    pub(crate) measures: Arc<Measures>,
    pub(crate) in_flight: Arc<InFlight>,
    /// Fires at the end of the grace time.
    pub(crate) drained: CancellationToken,
    /// Bounds the finished tasks whose ack is still under way.
    pub(crate) settling: Semaphore,
}

/// The parts of one delivery that the commands need.
struct Work {
    task: Result<Task, Undecoded>,
    deliveries: u64,
    ack: AckId,
    /// The pauses between tries at storing.
    pauses: Option<Growing>,
}

/// The beginning of a message that is no task.
struct Undecoded(Vec<u8>);

impl Runner {
    /// Sees one delivery through to its end. `slot` is given back as soon as nothing but the ack is left to do.
    pub(crate) async fn handle(self: Arc<Self>, delivery: Delivery, slot: OwnedSemaphorePermit) {
        let of_kind = self.measure(&delivery);
        let (attempt, command, mut work) = self.begin(delivery);
        let ack = work.ack.clone();
        let _alive = self.in_flight.track(&ack);
        let _counted = self.measures.counters.begin();
        let settles = |command: &Command| matches!(command, Command::Ack | Command::Nak { .. });
        let (attempt, command) = self.drive(attempt, command, &mut work, |command| !settles(command)).await;
        let _settling = self.settling.acquire().await;
        drop(slot);
        let (_, last) = self.drive(attempt, command, &mut work, settles).await;
        if let Command::End(ending) = last {
            self.measures.counters.ended(ending);
            of_kind.ended(ending);
        }
    }

    /// Notes how long a task had waited when it came for the first time; says where its kind is counted.
    fn measure(&self, delivery: &Delivery) -> &OfKind {
        if let Some(stored_at) = delivery.stored_at.filter(|_| delivery.deliveries == 1 && !delivery.again) {
            self.measures.waited(clock::now().since(stored_at));
        }
        self.measures.kind(delivery.task.as_ref().ok().map(|task| &task.kind))
    }

    /// Carries out one command after the other while they are of a kind.
    async fn drive(
        &self,
        mut attempt: Attempt,
        mut command: Command,
        work: &mut Work,
        of_a_kind: impl Fn(&Command) -> bool,
    ) -> (Attempt, Command) {
        while of_a_kind(&command) && !matches!(command, Command::End(_)) {
            let event = self.carry_out(&command, &attempt, work).await;
            // Each command is answered by an event that belongs to it, so there is always a next one.
            let (next, then) = attempt.on(event);
            attempt = next;
            command = then.unwrap_or(Command::End(Ending::GivenBack));
        }
        (attempt, command)
    }

    fn begin(&self, delivery: Delivery) -> (Attempt, Command, Work) {
        let Delivery { task, deliveries, again, ack, stored_at: _ } = delivery;
        let arrival =
            Arrival { task: task.as_ref(), deliveries, again, served: &self.kinds, worker: &self.settings.name };
        let (attempt, command) = Attempt::begin(&arrival);
        let task = task.map_err(|mut undecodable| {
            undecodable.bytes.truncate(limit::DEAD_BYTES_MAX);
            Undecoded(undecodable.bytes)
        });
        (attempt, command, Work { task, deliveries, ack, pauses: None })
    }

    /// Does what the engine asks for. The end of the grace time interrupts all but the settling.
    async fn carry_out(&self, command: &Command, attempt: &Attempt, work: &mut Work) -> Event {
        match command {
            Command::Ack => settled("ack", work, self.link.ack(&work.ack)).await,
            Command::Nak { delay } => settled("nak", work, self.link.nak(&work.ack, (*delay).into())).await,
            Command::Ask
            | Command::FetchValue(_)
            | Command::Run { .. }
            | Command::Bury { .. }
            | Command::Report { .. }
            | Command::End(_) => {
                tokio::select! {
                    biased;
                    () = self.drained.cancelled() => Event::Drained,
                    event = self.before_settling(command, attempt, work) => event,
                }
            }
        }
    }

    async fn before_settling(&self, command: &Command, attempt: &Attempt, work: &mut Work) -> Event {
        match (command, &mut work.task) {
            (Command::Ask, Ok(task)) => self.ask(task).await,
            (Command::FetchValue(value), Ok(task)) => self.fetch_value(task, *value).await,
            (Command::Run { attempt }, Ok(task)) => Event::Finished(self.run(task, *attempt).await),
            (Command::Bury { problem, failed }, _) => {
                work.pause(*failed).await;
                let letter = work.letter(self, problem.clone());
                stored("dead letter", self.link.bury(&self.settings.pool, letter).await)
            }
            (Command::Report { failed }, Ok(task)) => {
                let (partition, run) = (task.partition, task.id.run);
                work.pause(*failed).await;
                let Some(report) = attempt.report().cloned() else { return Event::Stored };
                let record = LogRecord { run, event: Happened::Report(Box::new(report)), reply: None };
                stored("report", self.link.report(&self.settings.pool, partition, record).await)
            }
            // Without a task the engine commands a burial and an ack only.
            (
                Command::Ask
                | Command::FetchValue(_)
                | Command::Run { .. }
                | Command::Report { .. }
                | Command::Ack
                | Command::Nak { .. }
                | Command::End(_),
                Ok(_) | Err(_),
            ) => Event::Drained,
        }
    }

    async fn ask(&self, task: &Task) -> Event {
        let question = AskRequest::MayRun { id: task.id, token: task.token };
        match self.answer(task, question, limit::ASK_TIMEOUT).await {
            Some(AskAnswer::MayRun(answer)) => Event::Answered(answer),
            Some(AskAnswer::Refused(problem)) => refused(task, problem),
            Some(AskAnswer::Value(_)) | None => Event::Unanswered,
        }
    }

    async fn fetch_value(&self, task: &mut Task, value: ValueId) -> Event {
        let question = AskRequest::Value { id: task.id, token: task.token, value };
        match self.answer(task, question, limit::VALUE_TIMEOUT).await {
            Some(AskAnswer::Value(value)) => {
                task.input = Payload::Inline(value);
                Event::ValueArrived
            }
            Some(AskAnswer::Refused(problem)) => refused(task, problem),
            Some(AskAnswer::MayRun(_)) | None => Event::Unanswered,
        }
    }

    async fn answer(&self, task: &Task, question: AskRequest, within: Duration) -> Option<AskAnswer> {
        let asked = self.link.ask(&self.settings.pool, task.partition, question);
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(task = %task.id, partition = %task.partition, %error, "the owner could not be asked");
                None
            }
            Err(_) => {
                tracing::warn!(task = %task.id, partition = %task.partition, ?within, "the owner did not answer in time");
                None
            }
        }
    }

    async fn run(&self, task: &mut Task, attempt: AttemptNo) -> stepmill_worker_engine::Finish {
        let Some(handler) = self.registry.get(&task.kind) else { return perform::no_handler(task, attempt) };
        let input = match &mut task.input {
            Payload::Inline(value) => value.take(),
            // The engine has the value fetched before it has the task run.
            Payload::Ref { .. } => Value::Null,
        };
        let ctx = Context::new(task, attempt, self.drained.child_token());
        let finish = perform::perform(handler.as_ref(), &self.settings.secrets, task, input, ctx).await;
        self.measures.kind(Some(&task.kind)).ran(finish.took);
        finish
    }
}

impl Work {
    async fn pause(&mut self, failed: u32) {
        if failed > 0 {
            let pause = self.pauses.get_or_insert_with(Growing::link).next_delay();
            tokio::time::sleep(pause).await;
        }
    }

    fn letter(&self, runner: &Runner, mut problem: Problem) -> DeadLetter {
        if let Err(Undecoded(bytes)) = &self.task {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            problem.extra = Some(json!({ "message_hex": hex }));
        }
        DeadLetter {
            pool: Some(runner.settings.pool.clone()),
            run: self.task.as_ref().map_or(RunId(uuid::Uuid::nil()), Task::run),
            problem,
            task: self.task.as_ref().ok().cloned(),
            record: None,
            deliveries: self.deliveries,
        }
    }
}

fn refused(task: &Task, problem: Problem) -> Event {
    tracing::warn!(task = %task.id, %problem, "the owner refused to answer");
    // Busy or on the move: that says nothing about the task.
    if problem.status == 503 { Event::Unanswered } else { Event::Refused(problem) }
}

fn stored(what: &str, result: Result<(), LinkError>) -> Event {
    match result {
        Ok(()) => Event::Stored,
        Err(error) => {
            tracing::warn!(%error, what, retryable = error.retryable, "not stored; trying again");
            Event::NotStored { reason: error.message, retryable: error.retryable }
        }
    }
}

async fn settled(what: &str, work: &Work, settle: impl Future<Output = Result<(), LinkError>>) -> Event {
    let reason = match tokio::time::timeout(limit::SETTLE_TIMEOUT, settle).await {
        Ok(Ok(())) => return Event::Settled,
        Ok(Err(error)) => error.message,
        Err(_) => format!("no answer within {:?}", limit::SETTLE_TIMEOUT),
    };
    tracing::warn!(what, ack = %work.ack.0, reason, "the broker did not confirm");
    Event::NotSettled
}
