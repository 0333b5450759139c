//! The contract of the engine, and the table of states and events.

use stepmill_definition::plan::Plan;
use stepmill_protocol::api::Folded;
use stepmill_protocol::{Event, Problem, RunId, Timestamp};

use crate::command::Command;
use crate::observe::Observer;
use crate::run::{Phase, Run};
use crate::transition::{acted, cancel, child, lost, occurred, park, report, rest, resume, signal, submit, timer};
use crate::walk::Walk;

/// The signal that lets a run try again to undo what it could not.
const UNDO_AGAIN: &str = "compensate";

/// What a fold gives.
#[derive(Debug)]
pub struct Outcome {
    /// The run as it is now. With another answer than `Applied` it is as it was.
    pub run: Option<Run>,
    /// What to do once the run is stored.
    pub commands: Vec<Command>,
    /// What to tell whoever sent the event.
    pub answer: Folded,
}

impl Outcome {
    pub(crate) fn unchanged(run: Option<Run>, answer: Folded) -> Self {
        Self { run, commands: Vec::new(), answer }
    }
}

/// Folds one event into a run.
///
/// `id` is the run that the event is on; `run` is none when no such run exists (yet). `at` is the log's time of the event.
/// The same run, event and time give the same outcome everywhere. Never panics on any event, input or stored state; a run
/// that does not fit its plan is refused and stays as it is.
#[must_use]
pub fn advance(plan: &Plan, id: RunId, run: Option<Run>, at: Timestamp, event: &Event) -> Outcome {
    fold(plan, id, run, at, event, None)
}

/// The same, with somebody who looks on, or nobody.
pub(crate) fn fold<'p>(
    plan: &'p Plan,
    id: RunId,
    run: Option<Run>,
    at: Timestamp,
    event: &Event,
    observer: Option<&'p Observer>,
) -> Outcome {
    let Some(mut run) = run else {
        return match event {
            Event::Submitted(submitted) => submit::begin(plan, id, at, submitted, observer),
            Event::Cancel { .. } | Event::Signal { .. } => {
                let problem = Problem::own("not-found", 404, "Not found", format!("there is no run {id}"));
                Outcome::unchanged(None, Folded::Refused(problem))
            }
            Event::Report(_)
            | Event::TimerDue { .. }
            | Event::Resume { .. }
            | Event::TaskLost { .. }
            | Event::Acted { .. }
            | Event::ChildEnded { .. }
            | Event::Park { .. }
            | Event::Snapshot { .. }
            | Event::Occurred(_) => Outcome::unchanged(None, ignored(format!("there is no run {id}"))),
        };
    };
    if !run.checked || run.head.digest != plan.digest {
        if let Err(problem) = run.validate(plan) {
            return Outcome::unchanged(Some(run), Folded::Refused(problem));
        }
        run.checked = true;
    }
    if let Event::Submitted(submitted) = event {
        let answer = submit::again(&run.head, submitted);
        return Outcome::unchanged(Some(run), answer);
    }
    if let Event::Acted { id, .. } = event
        && let Some(settled) = run.end_errand(*id)
    {
        return Outcome { run: Some(run), commands: vec![settled], answer: Folded::Applied };
    }
    let Run { head, tally, values, errands, phase, checked } = run;
    match phase {
        Phase::Live(live) => {
            on_the_way(Walk::new(plan, at, head, tally, values, errands, live).observed(observer), event)
        }
        Phase::Parked(live, problem) => match event {
            Event::Cancel { reason } => {
                let mut walk = Walk::new(plan, at, head, tally, values, errands, live).observed(observer);
                let answer = cancel::put_aside(&mut walk, reason);
                walk.go(answer)
            }
            Event::Signal { name, .. } if name == UNDO_AGAIN && live.ending.is_some() => {
                let mut walk = Walk::new(plan, at, head, tally, values, errands, live).observed(observer);
                walk.undo_last();
                walk.go(Folded::Applied)
            }
            Event::Submitted(_)
            | Event::Report(_)
            | Event::Signal { .. }
            | Event::TimerDue { .. }
            | Event::Resume { .. }
            | Event::TaskLost { .. }
            | Event::Acted { .. }
            | Event::ChildEnded { .. }
            | Event::Park { .. }
            | Event::Snapshot { .. }
            | Event::Occurred(_) => {
                let answer = rest::parked(&head, event);
                let phase = Phase::Parked(live, problem);
                Outcome::unchanged(Some(Run { head, tally, values, errands, phase, checked }), answer)
            }
        },
        Phase::Ended(ended_at, end) => {
            let answer = rest::ended(&head, &end, event);
            let phase = Phase::Ended(ended_at, end);
            Outcome::unchanged(Some(Run { head, tally, values, errands, phase, checked }), answer)
        }
    }
}

/// A run on its way, and an event.
fn on_the_way(mut walk: Walk<'_>, event: &Event) -> Outcome {
    if let Event::Park { reason } = event {
        return park::fold(walk, reason);
    }
    let answer = walk.one_step(|walk| match event {
        Event::Submitted(submitted) => submit::again(&walk.head, submitted),
        Event::Report(report) => report::fold(walk, report),
        Event::Signal { id, name, data } => signal::fold(walk, id.into_bytes(), name, data),
        Event::TimerDue { timer } => timer::fold(walk, *timer),
        Event::Cancel { reason } => cancel::fold(walk, reason),
        Event::Resume { number } => resume::fold(walk, *number),
        Event::TaskLost { id } => lost::fold(walk, *id),
        Event::Acted { id, outcome } => acted::fold(walk, *id, outcome),
        Event::ChildEnded { id, child, end, usage } => child::fold(walk, *id, *child, end, *usage),
        Event::Occurred(event) => occurred::fold(walk, event),
        Event::Park { .. } | Event::Snapshot { .. } => ignored("a snapshot is not an event of the run"),
    });
    walk.go(answer)
}

/// Nothing changed, and that is in order.
pub(crate) fn ignored(note: impl Into<String>) -> Folded {
    Folded::Ignored { note: note.into() }
}
