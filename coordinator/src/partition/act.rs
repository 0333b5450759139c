//! Carrying out what runs ask of the system itself: dispatches of the system's own pool. After the commit only, beside the
//! owner's loop, many at a time. What came of it is appended to this partition's log and folded like a worker's report. An
//! owner that takes over carries out again what is open; each action's effect has an id derived from its dispatch, so it
//! happens once.
//!
//! One that cannot be carried out now lets its place and its memory go and comes back after a while, so that actions on a
//! partition that nobody owns keep no others waiting.

use std::collections::HashMap;
use std::time::Duration;

use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{
    Acted, ChildEnd, CommandId, Event, LogRecord, Problem, RunId, StartRun, SystemAction, codec, limit,
};
use tokio_util::task::AbortOnDropHandle;

use super::OwnerError;
use super::owner::{Inner, Owner};
use super::settle::append_all;
use crate::api::{NewRun, append_and_wait, start_run, start_run_ended, take_in};
use crate::shared::Shared;

/// Waits between tries of one action.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait after another run has refused something: each try leaves a record in its log.
const LONGEST_WAIT_REFUSED: Duration = Duration::from_secs(300);

/// Open actions that were begun. One that is settled meanwhile, or whose owner leaves, is dropped.
#[derive(Default)]
pub(super) struct Acts {
    open: HashMap<CommandId, Act>,
    /// Bytes of those that are under way.
    bytes: usize,
}

struct Act {
    _task: AbortOnDropHandle<()>,
    /// While it is under way.
    bytes: usize,
    tries: Tries,
}

/// What earlier tries of an action have left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    wait: Duration,
    /// One of them may have reached the log though nobody said so.
    unsure: bool,
}

/// Why an action is not carried out now.
#[derive(Debug)]
pub(super) struct NotNow {
    problem: Problem,
    longest_wait: Duration,
    unsure: bool,
}

impl Acts {
    /// The dispatch is settled.
    pub(super) fn end(&mut self, id: &CommandId) {
        if let Some(act) = self.open.remove(id) {
            self.bytes -= act.bytes;
        }
    }

    /// Whether an action of this size may begin now. One always may.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= limit::ACTIONS_BYTES_MAX
    }
}

impl Owner {
    /// Begins to carry out an action; false when there is no room for it now.
    pub(super) fn act(&mut self, id: CommandId, action: SystemAction) -> bool {
        let bytes = codec::pack(&action).map_or(0, |packed| packed.len()).max(1);
        if !self.acts.has_room(bytes) {
            return false;
        }
        let tries = self.acts.open.get(&id).map(|act| act.tries).unwrap_or_default();
        self.acts.end(&id);
        let (shared, partition, inner) = (self.shared.clone(), self.partition, self.inner.clone());
        let task = tokio::spawn(async move {
            match carry_out(&shared, &action, tries.unsure).await {
                Ok(outcome) => {
                    let record = LogRecord { run: id.run, event: Event::Acted { id, outcome }, reply: None };
                    append_all(shared.ports.log.as_ref(), partition, &[record], || !inner.is_closed()).await;
                }
                // The owner may be gone by now; the next one carries out what is open.
                Err(not_now) => drop(inner.send(Inner::NotNow(id, not_now))),
            }
        });
        self.acts.bytes += bytes;
        self.acts.open.insert(id, Act { _task: AbortOnDropHandle::new(task), bytes, tries });
        true
    }

    /// An action could not be carried out: others have its place until it is tried again.
    pub(super) async fn not_now(&mut self, id: CommandId, why: NotNow) -> Result<(), OwnerError> {
        let Some(act) = self.acts.open.get_mut(&id) else { return Ok(()) };
        tracing::debug!(%id, problem = %why.problem, "an action cannot be carried out now; trying again");
        self.acts.bytes -= std::mem::take(&mut act.bytes);
        act.tries.unsure |= why.unsure;
        act.tries.wait = (act.tries.wait * 2).clamp(FIRST_WAIT, why.longest_wait);
        let wait = act.tries.wait;
        self.rest(id, wait);
        self.publish().await
    }

    /// A dispatch lets its place go and comes back after a while.
    pub(super) fn rest(&mut self, id: CommandId, wait: Duration) {
        self.outbox.rest(&id);
        let inner = self.inner.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => drop(inner.send(Inner::Rested(id))),
                () = inner.closed() => {}
            }
        });
    }
}

/// Carries it out, or says that it cannot be. `unsure`: an earlier try may have had an effect.
async fn carry_out(shared: &Shared, action: &SystemAction, unsure: bool) -> Result<Acted, NotNow> {
    let problem = match attempt(shared, action).await {
        Ok(acted) => return Ok(acted),
        Err(problem) => problem,
    };
    if passes_by(&problem) {
        let refused = problem.status == REFUSED;
        let longest_wait = if refused { LONGEST_WAIT_REFUSED } else { LONGEST_WAIT };
        return Err(NotNow { problem, longest_wait, unsure: !refused });
    }
    if let (true, SystemAction::Start(start)) = (unsure, action) {
        // An earlier try may have started it: nobody must wait for a run that goes on by itself.
        let ended = end(shared, start.run, "the step that started it was told that it could not be started").await;
        ended.map_err(|problem| NotNow { problem, longest_wait: LONGEST_WAIT, unsure: true })?;
    }
    Ok(Acted::Failed { retryable: problem.status == 404, problem })
}

async fn attempt(shared: &Shared, action: &SystemAction) -> Result<Acted, Problem> {
    match action {
        SystemAction::Start(start) => begin(shared, start).await,
        SystemAction::Tell { run, event } => tell(shared, *run, event).await,
        SystemAction::Cancel { run, reason, start } => {
            if let Some(start) = start {
                match never_begin(shared, start, reason).await {
                    Ok(true) => return Ok(done()),
                    Ok(false) => {}
                    Err(problem) if passes_by(&problem) => return Err(problem),
                    // It cannot be started now. It may have been before.
                    Err(problem) => tracing::debug!(%run, %problem, "a run that is not wanted cannot be started"),
                }
            }
            end(shared, *run, reason).await?;
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
    let (namespace, new) = new_run(start);
    let started = start_run(shared, &namespace, new).await?;
    Ok(Acted::Started { child: started.run })
}

/// Makes sure that a run never begins: true when it has not, false when it exists.
async fn never_begin(shared: &Shared, start: &StartRun, reason: &str) -> Result<bool, Problem> {
    let (namespace, new) = new_run(start);
    Ok(start_run_ended(shared, &namespace, new, reason).await?.created)
}

fn new_run(start: &StartRun) -> (stepmill_protocol::Namespace, NewRun) {
    let StartRun { run, namespace, workflow, version, input, parent } = start.clone();
    (namespace, NewRun { workflow, version, input, key: None, run: Some(run), parent: Some(parent) })
}

/// Ends a run, if it exists.
async fn end(shared: &Shared, run: RunId, reason: &str) -> Result<(), Problem> {
    heard(run, "cancel", append_and_wait(shared, run, Event::Cancel { reason: reason.to_owned() }).await?)
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
    heard(run, event.name(), answer)?;
    Ok(done())
}

/// What is told instead of an end that the log does not take.
fn untold(event: &Event, why: &Problem) -> Option<Event> {
    let Event::ChildEnded { id, child, usage, .. } = event else { return None };
    let detail = format!("run {child} has ended, but its end cannot be told: {why}");
    let end = ChildEnd::Faulted { problem: Problem::standard(Standard::Runtime, detail) };
    Some(Event::ChildEnded { id: *id, child: *child, end, usage: *usage })
}

/// The status of the problem when another run refused something that it will take later.
const REFUSED: u16 = 599;

/// A run that has no use for it, or does not exist, is no reason to try again. One that cannot be folded now (its definition or its state cannot
/// be read, its owner is too old for its rules) is.
fn heard(run: RunId, what: &str, answer: Folded) -> Result<(), Problem> {
    match answer {
        Folded::Applied => Ok(()),
        Folded::Ignored { note } => {
            tracing::debug!(%run, what, note, "another run had no use for this");
            Ok(())
        }
        Folded::Refused(problem) if problem.status == 404 => {
            tracing::debug!(%run, what, %problem, "there is nobody to hear this");
            Ok(())
        }
        Folded::Refused(problem) => {
            tracing::warn!(%run, what, %problem, "another run cannot take this now; it is told again later");
            Err(problem.with_status(REFUSED))
        }
    }
}

fn done() -> Acted {
    Acted::Done { output: stepmill_protocol::Value::Null }
}

/// Whether it can go better by itself in a while: nobody owns a partition, a server is away or full.
fn passes_by(problem: &Problem) -> bool {
    matches!(problem.status, 408 | 429 | 502..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_be_folded_now_has_not_heard() {
        let run = RunId(uuid::Uuid::nil());
        let refused = |status| Folded::Refused(Problem::own("x", status, "X", "x"));
        assert!(heard(run, "x", Folded::Applied).is_ok());
        assert!(heard(run, "x", Folded::Ignored { note: "ended".into() }).is_ok());
        assert!(heard(run, "x", refused(404)).is_ok(), "there is no such run");
        for status in [400, 500] {
            assert!(passes_by(&heard(run, "x", refused(status)).unwrap_err()));
        }
    }
}
