//! What to do with an outcome: the report, and whether the broker delivers the task again.

use serde_json::Value;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Millis, Problem, Report, ReportOutcome, Timestamp, Usage};

use crate::delivery::{Subject, Unserved};
use crate::limit;

/// What a handler left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// Its result.
    pub result: Result<Value, Fault>,
    /// How long it took.
    pub took: Millis,
    /// What it used up.
    pub usage: Option<Usage>,
    /// When it was through.
    pub now: Timestamp,
    /// The delay before the next attempt by the task's policy, jitter included; zero where there is no policy. The
    /// shell computes it, since jitter is chance.
    pub backoff: Millis,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Why.
    pub problem: Problem,
    /// Whether another attempt could go better.
    pub retryable: bool,
    /// Not before this long from now.
    pub retry_after: Option<Millis>,
}

impl Fault {
    pub(crate) fn terminal(problem: Problem) -> Self {
        Self { problem, retryable: false, retry_after: None }
    }
}

/// After what delay the broker delivers the task again; `None` leaves the decision to the engine.
pub(crate) fn redelivery(subject: &Subject, finish: &Finish) -> Option<Millis> {
    let (fault, policy) = match (&finish.result, &subject.retry) {
        (Err(fault), Some(policy)) if fault.retryable => (fault, policy),
        (Ok(_) | Err(_), Some(_) | None) => return None,
    };
    let delay = finish.backoff.max(fault.retry_after.unwrap_or_default());
    let attempts_left = subject.attempt.0 < policy.attempts_max;
    // When the first attempt began is known to the owner only, so a policy with a total duration is the engine's.
    let unbounded = policy.duration_max.is_none();
    let in_time = subject.deadline.is_none_or(|end| finish.now.plus(delay) < end);
    let cheap = subject.deliveries < limit::REDELIVERIES_MAX && delay <= limit::REDELIVERY_DELAY_MAX;
    (attempts_left && unbounded && in_time && cheap).then_some(delay)
}

/// The report on an outcome.
pub(crate) fn report(subject: &Subject, finish: Finish, redeliver_after: Option<Millis>) -> Report {
    let outcome = match finish.result {
        Ok(output) => ReportOutcome::Succeeded { output },
        Err(Fault { problem, retryable, retry_after }) => ReportOutcome::Failed {
            problem: problem.at(subject.path.to_string()),
            retryable,
            retry_after,
            redeliver_after,
        },
    };
    Report {
        id: subject.id,
        path: subject.path.clone(),
        token: subject.token,
        attempt: subject.attempt,
        outcome,
        worker: subject.worker.clone(),
        took: finish.took,
        usage: finish.usage,
    }
}

/// The report of a failure that the worker found without running anything.
pub(crate) fn refusal(subject: &Subject, problem: Problem) -> Report {
    let finish = Finish {
        result: Err(Fault::terminal(problem)),
        took: Millis(0),
        usage: None,
        now: Timestamp(0),
        backoff: Millis(0),
    };
    report(subject, finish, None)
}

pub(crate) fn no_handler(unserved: &Unserved) -> Problem {
    let served: Vec<&str> = unserved.served.iter().map(|kind| kind.as_str()).collect();
    let served = if served.is_empty() { "nothing".to_owned() } else { served.join(", ") };
    Problem::standard(
        Standard::Configuration,
        format!(
            "no worker registered for kind `{}` in pool `{}` (this worker serves: {served}); start a worker that \
             registers it, or correct the `call` in the definition",
            unserved.kind, unserved.pool
        ),
    )
}

pub(crate) fn poison(subject: &Subject) -> Problem {
    Problem::own(
        "poison-task",
        500,
        "Task given up",
        format!(
            "the task was delivered {} times without a report, probably because it kills its worker; it lies in the \
             dead letters, look at the workers' logs for {} before it is redriven",
            subject.deliveries, subject.id
        ),
    )
}

pub(crate) fn undecodable(reason: &str) -> Problem {
    Problem::own(
        "undecodable-task",
        400,
        "Not a task",
        format!("the message cannot be read as a task: {reason}; a worker of a newer release may be needed"),
    )
}

pub(crate) fn unstorable(reason: &str) -> Problem {
    Problem::standard(
        Standard::Runtime,
        format!("the attempt's report was refused by the log for good: {reason}; make the result smaller"),
    )
}
