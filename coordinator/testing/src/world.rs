//! One run in virtual time: what is due happens in the order of its time, and the run is told.

use std::collections::BTreeMap;

use stepmill_engine::{Command, Observer, Run, observe};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{
    CloudEvent, CommandId, Event, Millis, PartitionNo, Problem, RunId, Submitted, Task, TimerId, Timestamp,
};

use crate::case::{Case, EventAt};
use crate::child::Child;
use crate::limit::EVENTS_MAX;
use crate::mock::Mock;
use crate::names::Names;
use crate::outcome::Failure;
use crate::trail::Trail;
use crate::when::shown;
use crate::worker::Work;

/// The run of every case.
pub(crate) const RUN: RunId = RunId(uuid::Uuid::from_u128(0x7e57));
/// What everything that is derived in a run derives from: the same chance in every run of a case.
const SECRET: [u8; 32] = [0x7e; 32];

/// What happens at a time, in this order where the times are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The run goes on with what it put off.
    Turn,
    Timer,
    /// What workers and people do.
    Deed,
}

/// Something that will happen.
#[derive(Debug)]
enum Due {
    Turn(u64),
    Timer(TimerId),
    Delivery(CommandId, u64),
    Action(CommandId),
    Finish(Box<Work>),
    ChildEnd(Box<Child>),
    Signal(usize),
    Event(usize),
    Cancel,
}

/// What nobody was there to take.
enum Late {
    Signal(usize),
    Event(usize),
}

type Slot = (Timestamp, Rank, u64);

/// One run and everything around it.
pub(crate) struct World<'c> {
    pub(crate) names: Names<'c>,
    case: &'c Case,
    pub(crate) mocks: Vec<Mock>,
    pub(crate) events: Vec<CloudEvent>,
    /// Events that were stored so far.
    pub(crate) stored: u64,
    pub(crate) now: Timestamp,
    agenda: BTreeMap<Slot, Due>,
    planned: u64,
    timers: BTreeMap<TimerId, Slot>,
    pub(crate) tasks: BTreeMap<CommandId, Task>,
    pub(crate) run: Option<Run>,
    observer: Observer,
    pub(crate) trail: Trail,
    /// What keeps the run from going on as it would.
    pub(crate) failures: Vec<Failure>,
    stopped: bool,
    refused: Option<Problem>,
}

/// What was seen of a run.
pub(crate) struct Seen {
    pub(crate) run: Option<Run>,
    /// The submission was refused.
    pub(crate) refused: Option<Problem>,
    pub(crate) took: Millis,
    pub(crate) trail: Trail,
    pub(crate) mocks: Vec<Mock>,
    pub(crate) failures: Vec<Failure>,
    /// Something went wrong that is not the definition's fault: what was expected says nothing then.
    pub(crate) stopped: bool,
}

impl<'c> World<'c> {
    pub(crate) fn new(names: Names<'c>, case: &'c Case, mocks: Vec<Mock>, events: Vec<CloudEvent>) -> Self {
        Self {
            names,
            case,
            mocks,
            events,
            stored: 0,
            now: case.start.0,
            agenda: BTreeMap::new(),
            planned: 0,
            timers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            run: None,
            observer: Observer::default(),
            trail: Trail::default(),
            failures: Vec::new(),
            stopped: false,
            refused: None,
        }
    }

    /// Runs it until it has ended or nothing more will happen.
    pub(crate) fn run(mut self) -> Seen {
        self.plan_deeds();
        self.submit();
        let mut events = 0;
        while !self.stopped
            && !self.is_over()
            && let Some(((at, _, _), due)) = self.agenda.pop_first()
        {
            self.now = self.now.max(at);
            events += 1;
            if events > EVENTS_MAX {
                self.endless();
                break;
            }
            self.happen(due);
        }
        let too_late: Vec<Late> = self
            .agenda
            .values()
            .filter_map(|due| match due {
                Due::Signal(n) => Some(Late::Signal(*n)),
                Due::Event(n) => Some(Late::Event(*n)),
                Due::Turn(_)
                | Due::Timer(_)
                | Due::Delivery(..)
                | Due::Action(_)
                | Due::Finish(_)
                | Due::ChildEnd(_)
                | Due::Cancel => None,
            })
            .collect();
        if !self.stopped {
            for late in too_late {
                match late {
                    Late::Signal(n) => self.signal_was_late(n),
                    Late::Event(n) => self.event_was_late(n),
                }
            }
        }
        let took = self.now.since(self.case.start.0);
        let Self { run, refused, trail, mocks, failures, stopped, .. } = self;
        Seen { run, refused, took, trail, mocks, failures, stopped }
    }

    fn is_over(&self) -> bool {
        self.run.as_ref().is_none_or(|run| run.state().is_final())
    }

    fn plan_deeds(&mut self) {
        for (n, signal) in self.case.signals.iter().enumerate() {
            self.plan_at(self.now.plus(signal.at.0), Rank::Deed, Due::Signal(n));
        }
        for (n, event) in self.case.events.iter().enumerate() {
            self.plan_at(self.now.plus(event.at.0), Rank::Deed, Due::Event(n));
        }
        if let Some(cancel) = &self.case.cancel {
            self.plan_at(self.now.plus(cancel.at.0), Rank::Deed, Due::Cancel);
        }
    }

    fn plan_at(&mut self, at: Timestamp, rank: Rank, due: Due) -> Slot {
        self.planned += 1;
        let slot = (at, rank, self.planned);
        self.agenda.insert(slot, due);
        slot
    }

    /// A task will come (again).
    pub(crate) fn deliver_at(&mut self, at: Timestamp, id: CommandId, deliveries: u64) {
        self.plan_at(at, Rank::Deed, Due::Delivery(id, deliveries));
    }

    /// A worker will be through.
    pub(crate) fn finish_at(&mut self, at: Timestamp, work: Box<Work>) {
        self.plan_at(at, Rank::Deed, Due::Finish(work));
    }

    /// A run of another workflow will end.
    pub(crate) fn end_child_at(&mut self, at: Timestamp, child: Box<Child>) {
        self.plan_at(at, Rank::Deed, Due::ChildEnd(child));
    }

    fn submit(&mut self) {
        let plan = self.names.plan;
        let submitted = Submitted {
            namespace: plan.namespace.clone(),
            workflow: plan.name.clone(),
            digest: plan.digest.clone(),
            input: self.case.input.clone(),
            secret: SECRET.to_vec(),
            key: None,
            parent: None,
            engine: stepmill_engine::ENGINE_VERSION,
            cancelled: None,
        };
        match self.fold(&Event::Submitted(submitted)) {
            Folded::Refused(problem) => self.refused = Some(problem),
            Folded::Applied | Folded::Ignored { .. } => {}
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Turn(number) => drop(self.fold(&Event::Resume { number })),
            Due::Timer(timer) => {
                self.timers.remove(&timer);
                self.fold(&Event::TimerDue { timer });
            }
            Due::Action(id) => self.act(id),
            Due::Delivery(id, deliveries) => self.deliver(id, deliveries),
            Due::Finish(work) => self.finish(*work),
            Due::ChildEnd(child) => self.end_child(*child),
            Due::Signal(n) => self.signal(n),
            Due::Event(n) => self.occur(n),
            Due::Cancel => {
                let reason = self.case.cancel.as_ref().map(|cancel| cancel.reason.clone()).unwrap_or_default();
                self.fold(&Event::Cancel { reason });
            }
        }
    }

    fn signal(&mut self, n: usize) {
        let Some(signal) = self.case.signals.get(n) else { return };
        let id = uuid::Uuid::from_u128(n as u128 + 1);
        let event = Event::Signal { id, name: signal.name.value.clone(), data: signal.data.clone() };
        match self.fold(&event) {
            Folded::Applied => {}
            Folded::Ignored { note } => {
                let message = format!("the signal `{}` changed nothing: {note}", signal.name.value);
                self.failures.push(Failure::new("signal", &signal.name.place, message, ""));
            }
            Folded::Refused(problem) => {
                let message = format!("the signal `{}` was refused: {problem}", signal.name.value);
                self.failures.push(Failure::new("signal", &signal.name.place, message, ""));
            }
        }
    }

    fn signal_was_late(&mut self, n: usize) {
        let Some(signal) = self.case.signals.get(n) else { return };
        let message = format!("the signal `{}` came too late: the run had ended by then", signal.name.value);
        let help = format!("it ended {} after its submission", shown(self.now.since(self.case.start.0)));
        self.failures.push(Failure::new("signal", &signal.name.place, message, help));
    }

    fn endless(&mut self) {
        let message = format!("the run did not end within {EVENTS_MAX} events (EVENTS_MAX)");
        let help = "give the loop an end, or the case answers that lead out of it";
        self.stop(Failure::new("endless", &self.case.name.place, message, help));
    }

    /// Ends the case here.
    pub(crate) fn stop(&mut self, failure: Failure) {
        self.failures.push(failure);
        self.stopped = true;
    }

    /// The place of the case, for what has none of its own.
    pub(crate) fn case_place(&self) -> &'c stepmill_definition::Place {
        &self.case.name.place
    }

    /// An event of the case.
    pub(crate) fn event_at(&self, n: usize) -> Option<&'c EventAt> {
        self.case.events.get(n)
    }

    /// How long the run is under way.
    pub(crate) fn elapsed(&self) -> Millis {
        self.now.since(self.case.start.0)
    }

    /// Tells the run, and does what it asks for.
    pub(crate) fn fold(&mut self, event: &Event) -> Folded {
        let outcome = observe(self.names.plan, RUN, self.run.take(), self.now, event, &self.observer);
        self.run = outcome.run;
        // A coordinator writes them down; here nothing is ever loaded again.
        if let Some(run) = &mut self.run {
            run.take_value_changes();
        }
        self.trail.note(self.names, self.observer.take());
        for command in outcome.commands {
            self.carry_out(command);
        }
        outcome.answer
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Dispatch { id, pool, .. } if pool.is_system() => {
                self.plan_at(self.now, Rank::Turn, Due::Action(id));
            }
            Command::Dispatch { id, .. } => {
                let task = self.run.as_ref().and_then(|run| run.task(self.names.plan, id, PartitionNo(0)));
                if let Some(task) = task {
                    self.tasks.insert(id, task);
                    self.deliver_at(self.now, id, 1);
                }
            }
            // Workers learn it from the answer to their next question, as from a coordinator.
            Command::Withdraw { .. } => {}
            Command::Arm { timer, due } => {
                let slot = self.plan_at(due, Rank::Timer, Due::Timer(timer));
                self.timers.insert(timer, slot);
            }
            Command::Disarm { timer } => {
                if let Some(slot) = self.timers.remove(&timer) {
                    self.agenda.remove(&slot);
                }
            }
            Command::Yield { number } => drop(self.plan_at(self.now, Rank::Turn, Due::Turn(number))),
        }
    }
}
