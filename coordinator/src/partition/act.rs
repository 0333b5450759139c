//! Carrying out what runs ask of the system itself: dispatches of the system's own pool. After the commit only, beside the
//! owner's loop, many at a time. What came of it is appended to this partition's log and folded like a worker's report. An
//! owner that takes over carries out again what is open; each action's effect has an id derived from its dispatch, so it
//! happens once.

use std::collections::HashMap;
use std::time::Duration;

use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Acted, ChildEnd, CommandId, Event, LogRecord, Problem, RunId, StartRun, SystemAction};
use tokio_util::task::AbortOnDropHandle;

use super::owner::Owner;
use super::settle::append_all;
use crate::api::{NewRun, append_and_wait, start_run, take_in};
use crate::shared::Shared;

/// Waits between tries of one action.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Actions under way. One that is settled meanwhile, or whose owner leaves, is dropped.
#[derive(Default)]
pub(super) struct Acts(HashMap<CommandId, AbortOnDropHandle<()>>);

impl Acts {
    /// The dispatch is settled.
    pub(super) fn end(&mut self, id: &CommandId) {
        self.0.remove(id);
    }
}

impl Owner {
    /// Begins to carry out an action.
    pub(super) fn act(&mut self, id: CommandId, action: SystemAction) {
        let (shared, partition, alive) = (self.shared.clone(), self.partition, self.inner.clone());
        let task = tokio::spawn(async move {
            let outcome = carry_out(&shared, &action).await;
            let record = LogRecord { run: id.run, event: Event::Acted { id, outcome }, reply: None };
            append_all(shared.ports.log.as_ref(), partition, &[record], || !alive.is_closed()).await;
        });
        self.acts.0.insert(id, AbortOnDropHandle::new(task));
    }
}

/// Tries until it is done or cannot be.
async fn carry_out(shared: &Shared, action: &SystemAction) -> Acted {
    let mut wait = FIRST_WAIT;
    loop {
        let problem = match attempt(shared, action).await {
            Ok(acted) => return acted,
            Err(problem) => problem,
        };
        if !passes_by(&problem) {
            return Acted::Failed { retryable: problem.status == 404, problem };
        }
        tracing::debug!(%problem, "an action cannot be carried out now; trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn attempt(shared: &Shared, action: &SystemAction) -> Result<Acted, Problem> {
    match action {
        SystemAction::Start(start) => begin(shared, start).await,
        SystemAction::Tell { run, event } => tell(shared, *run, event).await,
        SystemAction::Cancel { run, reason, start } => {
            if let Some(start) = start
                && let Err(problem) = begin(shared, start).await
            {
                // One that can never start needs no end.
                return if passes_by(&problem) { Err(problem) } else { Ok(done()) };
            }
            let answer = append_and_wait(shared, *run, Event::Cancel { reason: reason.clone() }).await?;
            heard(*run, "cancel", &answer);
            Ok(done())
        }
        SystemAction::Emit { namespace, event } => {
            take_in(shared, namespace, event.as_ref().clone()).await?;
            Ok(done())
        }
    }
}

/// Starts a run, or finds that it exists.
async fn begin(shared: &Shared, start: &StartRun) -> Result<Acted, Problem> {
    let StartRun { run, namespace, workflow, version, input, parent } = start.clone();
    let new = NewRun { workflow, version, input, key: None, run: Some(run), parent: Some(parent) };
    let started = start_run(shared, &namespace, new).await?;
    Ok(Acted::Started { child: started.run })
}

/// Tells a run something and waits until its owner has committed that. An output that cannot be told becomes an error that can.
async fn tell(shared: &Shared, run: RunId, event: &Event) -> Result<Acted, Problem> {
    let answer = match append_and_wait(shared, run, event.clone()).await {
        Ok(answer) => answer,
        Err(problem) if passes_by(&problem) => return Err(problem),
        Err(problem) => {
            let Some(smaller) = untold(event, &problem) else { return Err(problem) };
            append_and_wait(shared, run, smaller).await?
        }
    };
    heard(run, event.name(), &answer);
    Ok(done())
}

/// What is told instead of an end that the log does not take.
fn untold(event: &Event, why: &Problem) -> Option<Event> {
    let Event::ChildEnded { id, child, usage, .. } = event else { return None };
    let detail = format!("run {child} has ended, but its end cannot be told: {why}");
    let end = ChildEnd::Faulted { problem: Problem::standard(Standard::Runtime, detail) };
    Some(Event::ChildEnded { id: *id, child: *child, end, usage: *usage })
}

/// A run that does not want to hear it is no reason to try again.
fn heard(run: RunId, what: &str, answer: &Folded) {
    match answer {
        Folded::Applied => {}
        Folded::Ignored { note } => tracing::debug!(%run, what, note, "another run had no use for this"),
        Folded::Refused(problem) => tracing::debug!(%run, what, %problem, "another run refused this"),
    }
}

fn done() -> Acted {
    Acted::Done { output: stepmill_protocol::Value::Null }
}

/// Whether it can go better by itself in a while: nobody owns a partition, a server is away or full.
fn passes_by(problem: &Problem) -> bool {
    matches!(problem.status, 408 | 429 | 502..=599)
}
