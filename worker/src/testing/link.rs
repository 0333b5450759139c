//! A broker in memory for tests: delivers what is put in, and remembers in order what the worker did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use stepmill_protocol::link::{AckId, BoxFuture, Delivery, Heartbeat, LinkError, WorkerLink};
use stepmill_protocol::{
    AskAnswer, AskRequest, DeadLetter, Event, LogRecord, MayRun, PartitionNo, Payload, PoolName, Report, ReportOutcome,
    StepKind, Task,
};
use tokio::sync::watch;

use crate::clock;

/// What a worker did, in the order in which it did it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Joined with these kinds.
    Join(Vec<StepKind>),
    /// Asked for up to `max` tasks and was given some.
    Fetch {
        /// The limit that it named.
        max: usize,
        /// How many it got.
        given: usize,
    },
    /// Asked the owner.
    Ask(AskRequest),
    /// A report was stored.
    Report(Box<Report>),
    /// A call was refused, as [`MemoryLink::fail`] asked.
    Refused(Call),
    /// Acked.
    Ack(AckId),
    /// Gave back, with this delay.
    Nak(AckId, Duration),
    /// Put into the dead letters.
    Bury(Box<DeadLetter>),
    /// Showed progress on these deliveries.
    Progress(Vec<AckId>),
}

/// A call of a worker to its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Joining the pool.
    Join,
    /// Fetching tasks.
    Fetch,
    /// Storing a report.
    Report,
    /// Acking or giving back.
    Settle,
    /// Storing a dead letter.
    Bury,
    /// Opening the way for progress signs.
    Heartbeat,
}

/// The broker. Clones are the same broker.
#[derive(Clone)]
pub struct MemoryLink {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts the changes, so that both sides can wait for one.
    changes: watch::Sender<u64>,
    ack_wait: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    acts: Vec<Act>,
    next_ack: u64,
    refusals: BTreeMap<Call, VecDeque<LinkError>>,
    answer: Option<AskAnswer>,
    silent: bool,
}

impl Default for MemoryLink {
    fn default() -> Self {
        Self::new(Duration::from_secs(3))
    }
}

impl std::fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLink").field("acts", &self.acts()).finish_non_exhaustive()
    }
}

impl MemoryLink {
    /// A broker that delivers a task again after `ack_wait` without a sign (it only says so; it does not do it).
    #[must_use]
    pub fn new(ack_wait: Duration) -> Self {
        let shared = Shared { state: Mutex::default(), changes: watch::Sender::new(0), ack_wait };
        Self { shared: Arc::new(shared) }
    }

    /// Puts in a first delivery of a task with this input.
    ///
    /// # Panics
    /// When `kind` is no step kind.
    pub fn push(&self, kind: &str, input: Value) -> AckId {
        self.deliver(Task { input: Payload::Inline(input), ..super::task(kind) }, 1)
    }

    /// Puts in a delivery.
    pub fn deliver(&self, task: Task, deliveries: u64) -> AckId {
        self.deliver_raw(Ok(task), deliveries, false)
    }

    /// Puts in a delivery of any kind.
    pub fn deliver_raw(
        &self,
        task: Result<Task, stepmill_protocol::link::Undecodable>,
        deliveries: u64,
        again: bool,
    ) -> AckId {
        self.change(|state| {
            state.next_ack += 1;
            let ack = AckId(format!("ack-{}", state.next_ack));
            state.queue.push_back(Delivery {
                task,
                deliveries,
                again,
                ack: ack.clone(),
                stored_at: Some(clock::now()),
            });
            ack
        })
    }

    /// Has the next calls of this kind refused with these errors, first to last.
    pub fn fail(&self, call: Call, errors: impl IntoIterator<Item = LinkError>) {
        self.change(|state| state.refusals.entry(call).or_default().extend(errors));
    }

    /// What the owner answers from now on; `None` for an owner that does not answer. It says `run` as the attempt of
    /// 2 unless told otherwise.
    pub fn answer(&self, answer: Option<AskAnswer>) {
        self.change(|state| {
            state.silent = answer.is_none();
            state.answer = answer;
        });
    }

    /// What the worker did so far.
    #[must_use]
    pub fn acts(&self) -> Vec<Act> {
        self.shared.state.lock().acts.clone()
    }

    /// The outputs of the successes that are stored so far.
    #[must_use]
    pub fn outputs(&self) -> Vec<Value> {
        let outputs = self.reports().into_iter().filter_map(|report| match report.outcome {
            ReportOutcome::Succeeded { output } => Some(output),
            ReportOutcome::Failed { .. } => None,
        });
        outputs.collect()
    }

    /// The reports that are stored so far.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let state = self.shared.state.lock();
        let reports = state.acts.iter().filter_map(|act| if let Act::Report(r) = act { Some(&**r) } else { None });
        reports.cloned().collect()
    }

    /// Resolves once what the worker did satisfies `enough`.
    pub async fn until(&self, enough: impl Fn(&[Act]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !enough(&self.shared.state.lock().acts) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Resolves once this many deliveries were acked or given back.
    pub async fn until_settled(&self, count: usize) {
        let settled = |act: &&Act| matches!(act, Act::Ack(_) | Act::Nak(..));
        self.until(|acts| acts.iter().filter(settled).count() >= count).await;
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.shared.state.lock());
        self.shared.changes.send_modify(|count| *count += 1);
        result
    }

    fn note(&self, act: Act) {
        self.change(|state| state.acts.push(act));
    }

    /// Notes the act, unless this call is to fail.
    fn act(&self, call: Call, act: impl FnOnce() -> Option<Act>) -> Result<(), LinkError> {
        self.change(|state| {
            if let Some(error) = state.refusals.get_mut(&call).and_then(VecDeque::pop_front) {
                state.acts.push(Act::Refused(call));
                return Err(error);
            }
            state.acts.extend(act());
            Ok(())
        })
    }
}

impl WorkerLink for MemoryLink {
    fn join<'a>(&'a self, _pool: &'a PoolName, kinds: &'a [StepKind]) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { self.act(Call::Join, || Some(Act::Join(kinds.to_vec()))) })
    }

    fn fetch<'a>(
        &'a self,
        _pool: &'a PoolName,
        max: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, LinkError>> {
        Box::pin(async move {
            self.act(Call::Fetch, || None)?;
            let mut changes = self.shared.changes.subscribe();
            let some = async { while self.shared.state.lock().queue.is_empty() && changes.changed().await.is_ok() {} };
            // Nothing within the wait is an answer too.
            let _ = tokio::time::timeout(wait, some).await;
            let taken: Vec<Delivery> = self.change(|state| {
                let given = max.min(state.queue.len());
                if given > 0 {
                    state.acts.push(Act::Fetch { max, given });
                }
                state.queue.drain(..given).collect()
            });
            Ok(taken)
        })
    }

    fn report<'a>(
        &'a self,
        _pool: &'a PoolName,
        _partition: PartitionNo,
        record: LogRecord,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move {
            self.act(Call::Report, || match record.event {
                Event::Report(report) => Some(Act::Report(report)),
                Event::Submitted(_)
                | Event::Signal { .. }
                | Event::TimerDue { .. }
                | Event::Cancel { .. }
                | Event::Resume { .. }
                | Event::TaskLost { .. }
                | Event::Acted { .. }
                | Event::ChildEnded { .. }
                | Event::Park { .. }
                | Event::Snapshot { .. }
                | Event::Occurred(_)
                | Event::Operated(_) => None,
            })
        })
    }

    fn ask<'a>(
        &'a self,
        _pool: &'a PoolName,
        _partition: PartitionNo,
        request: AskRequest,
    ) -> BoxFuture<'a, Result<AskAnswer, LinkError>> {
        Box::pin(async move {
            let (silent, answer) = self.change(|state| {
                state.acts.push(Act::Ask(request));
                (state.silent, state.answer.clone())
            });
            if silent {
                std::future::pending::<()>().await;
            }
            let attempt = stepmill_protocol::AttemptNo(2);
            Ok(answer.unwrap_or(AskAnswer::MayRun(MayRun::Run { attempt })))
        })
    }

    fn ack<'a>(&'a self, ack: &'a AckId) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { self.act(Call::Settle, || Some(Act::Ack(ack.clone()))) })
    }

    fn nak<'a>(&'a self, ack: &'a AckId, delay: Duration) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { self.act(Call::Settle, || Some(Act::Nak(ack.clone(), delay))) })
    }

    fn bury<'a>(&'a self, _pool: &'a PoolName, letter: DeadLetter) -> BoxFuture<'a, Result<(), LinkError>> {
        Box::pin(async move { self.act(Call::Bury, || Some(Act::Bury(Box::new(letter)))) })
    }

    fn heartbeat<'a>(&'a self, _pool: &'a PoolName) -> BoxFuture<'a, Result<Box<dyn Heartbeat>, LinkError>> {
        Box::pin(async move {
            self.act(Call::Heartbeat, || None)?;
            let beat: Box<dyn Heartbeat> = Box::new(MemoryHeartbeat { link: self.clone() });
            Ok(beat)
        })
    }
}

struct MemoryHeartbeat {
    link: MemoryLink,
}

impl Heartbeat for MemoryHeartbeat {
    fn ack_wait(&self) -> Duration {
        self.link.shared.ack_wait
    }

    fn progress<'a>(&'a mut self, acks: &'a [AckId]) -> BoxFuture<'a, ()> {
        self.link.note(Act::Progress(acks.to_vec()));
        Box::pin(async {})
    }
}
