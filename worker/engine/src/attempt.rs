//! The life of one delivery as a state machine: events in, one command out.

use stepmill_protocol::{AttemptNo, MayRun, Millis, Problem, Report, ReportOutcome};

use crate::command::{Command, Ending, Event};
use crate::delivery::{Arrival, Subject};
use crate::{finish, limit};
use stepmill_protocol::limit::DELIVERIES_MAX;

/// One delivery on its way. [`Attempt::begin`] gives the first command, [`Attempt::on`] each further one.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    state: State,
}

/// What the attempt waits for.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// The owner's answer to `MayRun`.
    Asking(Box<Subject>),
    /// The owner's answer to `Value`.
    Fetching(Box<Subject>),
    /// The handler.
    Running(Box<Subject>),
    /// The dead letter to be stored; then the report, where there is a task to report on.
    Burying { problem: Problem, subject: Option<Box<Subject>>, failed: u32 },
    /// The report to be stored.
    Reporting { report: Box<Report>, settle: Settle, ending: Ending, failed: u32, refused: u32 },
    /// The broker's word on ack or negative-ack.
    Settling { settle: Settle, ending: Ending, failed: u32 },
    /// Nothing.
    Ended(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settle {
    Ack,
    Nak(Millis),
}

type Next = (State, Option<Command>);

impl Attempt {
    /// Looks at a delivery.
    #[must_use]
    pub fn begin(arrival: &Arrival<'_>) -> (Self, Command) {
        let (state, command) = match arrival.task {
            Err(undecodable) => bury(finish::undecodable(&undecodable.reason), None),
            Ok(task) => {
                let subject = Box::new(Subject::of(task, arrival));
                if arrival.again || arrival.deliveries > 1 {
                    (State::Asking(subject), Command::Ask)
                } else {
                    permitted(subject)
                }
            }
        };
        (Self { state }, command)
    }

    /// Takes what happened and says what to do next; `None` where the event does not belong to what is waited for
    /// (a late answer) and nothing is to be done.
    #[must_use]
    pub fn on(self, event: Event) -> (Self, Option<Command>) {
        let (state, command) = match self.state {
            State::Asking(subject) => asking(subject, event),
            State::Fetching(subject) => fetching(subject, event),
            State::Running(subject) => running(subject, event),
            State::Burying { problem, subject, failed } => burying(problem, subject, failed, event),
            State::Reporting { report, settle, ending, failed, refused } => {
                reporting(report, settle, ending, (failed, refused), event)
            }
            State::Settling { settle, ending, failed } => settling(settle, ending, failed, event),
            State::Ended(ending) => (State::Ended(ending), None),
        };
        (Self { state }, command)
    }

    /// The report to be stored, while one is.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.state {
            State::Reporting { report, .. } => Some(report),
            State::Asking(_)
            | State::Fetching(_)
            | State::Running(_)
            | State::Burying { .. }
            | State::Settling { .. }
            | State::Ended(_) => None,
        }
    }
}

/// The task may run as `subject.attempt`: what stands in the way here?
fn permitted(subject: Box<Subject>) -> (State, Command) {
    // Beyond the limit it is given up only now, with the owner's word that it still matters: while coordinators are
    // down, deliveries grow without any fault of the task.
    if subject.deliveries > DELIVERIES_MAX {
        return bury(finish::poison(&subject), Some(subject));
    }
    if let Some(unserved) = &subject.unserved {
        if subject.deliveries < limit::UNSERVED_DELIVERIES_MAX {
            return settle(Settle::Nak(limit::UNSERVED_DELAY), Ending::GivenBack);
        }
        let report = finish::refusal(&subject, finish::no_handler(unserved));
        return store(report, Settle::Ack, Ending::Failed);
    }
    match subject.value {
        Some(value) => (State::Fetching(subject), Command::FetchValue(value)),
        None => run(subject),
    }
}

fn asking(mut subject: Box<Subject>, event: Event) -> Next {
    let (state, command) = match event {
        Event::Answered(MayRun::Run { attempt }) => {
            subject.attempt = attempt;
            permitted(subject)
        }
        Event::Answered(MayRun::Wait { delay }) => settle(Settle::Nak(delay), Ending::GivenBack),
        Event::Answered(MayRun::Done | MayRun::Stale) => settle(Settle::Ack, Ending::Skipped),
        // The owner is there and does not know the task: beyond the limit it is given up.
        Event::Refused(_) if subject.deliveries > DELIVERIES_MAX => bury(finish::poison(&subject), Some(subject)),
        Event::Refused(_) | Event::Unanswered => give_back_later(&subject),
        Event::Drained => settle(Settle::Nak(Millis(0)), Ending::GivenBack),
        Event::ValueArrived
        | Event::Finished(_)
        | Event::Stored
        | Event::NotStored { .. }
        | Event::Settled
        | Event::NotSettled => return (State::Asking(subject), None),
    };
    (state, Some(command))
}

fn fetching(subject: Box<Subject>, event: Event) -> Next {
    let (state, command) = match event {
        Event::ValueArrived => run(subject),
        // Refused too: the next delivery asks whether the task still matters.
        Event::Refused(_) | Event::Unanswered => give_back_later(&subject),
        Event::Drained => settle(Settle::Nak(Millis(0)), Ending::GivenBack),
        Event::Answered(_)
        | Event::Finished(_)
        | Event::Stored
        | Event::NotStored { .. }
        | Event::Settled
        | Event::NotSettled => return (State::Fetching(subject), None),
    };
    (state, Some(command))
}

fn running(subject: Box<Subject>, event: Event) -> Next {
    let (state, command) = match event {
        Event::Finished(outcome) => {
            let delay = finish::redelivery(&subject, &outcome);
            let ending = if outcome.result.is_ok() { Ending::Succeeded } else { Ending::Failed };
            let report = finish::report(&subject, outcome, delay);
            store(report, delay.map_or(Settle::Ack, Settle::Nak), ending)
        }
        Event::Drained => settle(Settle::Nak(Millis(0)), Ending::GivenBack),
        Event::Answered(_)
        | Event::Refused(_)
        | Event::Unanswered
        | Event::ValueArrived
        | Event::Stored
        | Event::NotStored { .. }
        | Event::Settled
        | Event::NotSettled => return (State::Running(subject), None),
    };
    (state, Some(command))
}

fn burying(problem: Problem, subject: Option<Box<Subject>>, failed: u32, event: Event) -> Next {
    let (state, command) = match (event, subject) {
        // The run must not wait for ever for a task that lies with the dead.
        (Event::Stored, Some(subject)) => store(finish::refusal(&subject, problem), Settle::Ack, Ending::Buried),
        (Event::Stored, None) => settle(Settle::Ack, Ending::Buried),
        (Event::NotStored { .. }, subject) => {
            let failed = failed.saturating_add(1);
            (State::Burying { problem: problem.clone(), subject, failed }, Command::Bury { problem, failed })
        }
        (Event::Drained, _) => settle(Settle::Nak(Millis(0)), Ending::GivenBack),
        (
            Event::Answered(_)
            | Event::Refused(_)
            | Event::Unanswered
            | Event::ValueArrived
            | Event::Finished(_)
            | Event::Settled
            | Event::NotSettled,
            subject,
        ) => return (State::Burying { problem, subject, failed }, None),
    };
    (state, Some(command))
}

fn reporting(
    mut report: Box<Report>,
    after: Settle,
    ending: Ending,
    (failed, refused): (u32, u32),
    event: Event,
) -> Next {
    let (state, command) = match event {
        Event::Stored => settle(after, ending),
        Event::NotStored { reason, retryable } => {
            let failed = failed.saturating_add(1);
            let mut refused = if retryable { 0 } else { refused.saturating_add(1) };
            let (mut settle, mut ending) = (after, ending);
            if refused >= limit::REFUSALS_MAX {
                report.outcome = ReportOutcome::Failed {
                    problem: finish::unstorable(&reason).at(report.path.to_string()),
                    retryable: false,
                    retry_after: None,
                    redeliver_after: None,
                };
                (refused, settle, ending) = (0, Settle::Ack, Ending::Failed);
            }
            (State::Reporting { report, settle, ending, failed, refused }, Command::Report { failed })
        }
        // Not stored and the process ends: the attempt will be made again.
        Event::Drained => settle(Settle::Nak(Millis(0)), Ending::GivenBack),
        Event::Answered(_)
        | Event::Refused(_)
        | Event::Unanswered
        | Event::ValueArrived
        | Event::Finished(_)
        | Event::Settled
        | Event::NotSettled => {
            return (State::Reporting { report, settle: after, ending, failed, refused }, None);
        }
    };
    (state, Some(command))
}

fn settling(how: Settle, ending: Ending, failed: u32, event: Event) -> Next {
    match event {
        Event::Settled => (State::Ended(ending), Some(Command::End(ending))),
        Event::NotSettled if failed + 1 >= limit::SETTLE_TRIES_MAX => {
            (State::Ended(ending), Some(Command::End(ending)))
        }
        Event::NotSettled => (State::Settling { settle: how, ending, failed: failed + 1 }, Some(how.command())),
        Event::Answered(_)
        | Event::Refused(_)
        | Event::Unanswered
        | Event::ValueArrived
        | Event::Finished(_)
        | Event::Stored
        | Event::NotStored { .. }
        | Event::Drained => (State::Settling { settle: how, ending, failed }, None),
    }
}

impl Settle {
    fn command(self) -> Command {
        match self {
            Self::Ack => Command::Ack,
            Self::Nak(delay) => Command::Nak { delay },
        }
    }
}

fn run(subject: Box<Subject>) -> (State, Command) {
    let attempt: AttemptNo = subject.attempt;
    (State::Running(subject), Command::Run { attempt })
}

fn bury(problem: Problem, subject: Option<Box<Subject>>) -> (State, Command) {
    (State::Burying { problem: problem.clone(), subject, failed: 0 }, Command::Bury { problem, failed: 0 })
}

fn store(report: Report, settle: Settle, ending: Ending) -> (State, Command) {
    (
        State::Reporting { report: Box::new(report), settle, ending, failed: 0, refused: 0 },
        Command::Report { failed: 0 },
    )
}

fn settle(settle: Settle, ending: Ending) -> (State, Command) {
    (State::Settling { settle, ending, failed: 0 }, settle.command())
}

fn give_back_later(subject: &Subject) -> (State, Command) {
    let doublings = u32::try_from(subject.deliveries.saturating_sub(1).min(16)).unwrap_or(16);
    let delay = limit::UNANSWERED_DELAY.0.saturating_mul(1 << doublings).min(limit::UNANSWERED_DELAY_MAX.0);
    settle(Settle::Nak(Millis(delay)), Ending::GivenBack)
}
