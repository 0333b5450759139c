//! What can happen to an attempt, what it can ask its shell to do, and how it can end.

use stepmill_protocol::{AttemptNo, MayRun, Millis, Problem, ValueId};

use crate::finish::Finish;

/// What the shell has to do next. It answers each with one of the events named here.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask the owner whether the task may run: `Answered`, `Refused` or `Unanswered`.
    Ask,
    /// Fetch the input from the owner: `ValueArrived`, `Refused` or `Unanswered`.
    FetchValue(ValueId),
    /// Run the handler: `Finished`.
    Run {
        /// The attempt that the handler sees.
        attempt: AttemptNo,
    },
    /// Put the task into the dead letters: `Stored` or `NotStored`.
    Bury {
        /// Why.
        problem: Problem,
        /// How often it has failed already; the shell pauses before each repetition.
        failed: u32,
    },
    /// Store [`crate::Attempt::report`]: `Stored` or `NotStored`.
    Report {
        /// How often it has failed already; the shell pauses before each repetition.
        failed: u32,
    },
    /// Remove the task: `Settled` or `NotSettled`.
    Ack,
    /// Have the task delivered again: `Settled` or `NotSettled`.
    Nak {
        /// After how long.
        delay: Millis,
    },
    /// Nothing more.
    End(Ending),
}

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The owner answered the question.
    Answered(MayRun),
    /// The owner will not answer it.
    Refused(Problem),
    /// No answer came in time.
    Unanswered,
    /// The input is there.
    ValueArrived,
    /// The handler is through.
    Finished(Finish),
    /// The report or the dead letter is stored.
    Stored,
    /// It is not, as far as is known.
    NotStored {
        /// Why, for the failure that may be reported in its place.
        reason: String,
        /// Whether trying again can help.
        retryable: bool,
    },
    /// The broker took the ack or negative-ack.
    Settled,
    /// It did not, as far as is known.
    NotSettled,
    /// The worker's grace time is over: give the task back.
    Drained,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its success is stored.
    Succeeded,
    /// Its failure is stored.
    Failed,
    /// It was given back without a report.
    GivenBack,
    /// It did not need to run.
    Skipped,
    /// It lies in the dead letters.
    Buried,
}
