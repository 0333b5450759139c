//! The walk of a run's tokens through the plan, as far as one fold lets them go. Transitions begin it; entering, leaving
//! and failing are in the files beside.

mod catch;
mod enter;
mod fail;
mod frames;
mod join;
mod leave;
mod listen;
mod repeat;
mod undo;

pub(crate) use listen::{Fit, farther};

use std::collections::BTreeSet;

use stepmill_definition::expression::budget;
use stepmill_definition::plan::Plan;
use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{CommandId, Problem, Timestamp, limit};

use crate::advance::Outcome;
use crate::check::Broken;
use crate::command::Command;
use crate::errand::{Errand, Errands};
use crate::fault::shortened;
use crate::frame::{EventPlace, Ready};
use crate::observe::Observer;
use crate::run::{End, Head, Live, Phase, Run, Tally};
use crate::values::{Held, Values};

/// Nodes between two looks for values that are not needed any more.
const SWEEP_EVERY: u32 = 64;

/// One fold of a run that is on its way.
pub(crate) struct Walk<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) at: Timestamp,
    pub(crate) head: Head,
    pub(crate) tally: Tally,
    pub(crate) values: Values,
    pub(crate) errands: Errands,
    pub(crate) live: Live,
    pub(crate) commands: Vec<Command>,
    /// What was asked for in this very fold: dispatches, and timers above this number.
    asked_now: BTreeSet<CommandId>,
    timers_before: u64,
    /// What expressions have done in this fold.
    work: u64,
    /// Who looks on, if somebody does.
    pub(crate) observer: Option<&'p Observer>,
    /// The event that this fold is of.
    pub(crate) event: Option<EventPlace>,
    /// It is only asked whether the run may take an event, before all that comes first is folded: what that can change counts as fitting.
    pub(crate) loosely: bool,
    /// Set once the run ends in this fold.
    pub(crate) end: Option<End>,
    /// Set once the run is put aside in this fold, for a person to look at.
    pub(crate) aside: Option<Problem>,
}

impl<'p> Walk<'p> {
    pub(crate) fn new(
        plan: &'p Plan,
        at: Timestamp,
        head: Head,
        tally: Tally,
        values: Values,
        errands: Errands,
        live: Live,
    ) -> Self {
        let timers_before = live.last.timer;
        let (commands, asked_now) = (Vec::new(), BTreeSet::new());
        Self {
            plan,
            at,
            head,
            tally,
            values,
            errands,
            live,
            commands,
            asked_now,
            timers_before,
            event: None,
            loosely: false,
            work: 0,
            observer: None,
            end: None,
            aside: None,
        }
    }

    /// Lets tokens go on until all wait or the fold has had its share of nodes, then closes the books.
    pub(crate) fn go(mut self, answer: Folded) -> Outcome {
        match answer {
            Folded::Applied => {}
            Folded::Ignored { .. } | Folded::Refused(_) => return self.unchanged(answer),
        }
        let mut passed = 0;
        while passed < limit::NODES_PER_FOLD_MAX
            && self.work < limit::WORK_PER_FOLD_MAX
            && let Some(ready) = self.live.ready.pop_front()
        {
            passed += 1;
            self.one_step(|walk| walk.let_on(ready));
            if passed % SWEEP_EVERY == 0 {
                self.values.sweep_some();
            }
        }
        self.ask_for_a_turn();
        self.tally.rev = self.tally.rev.saturating_add(1);
        let phase = match self.end {
            Some(end) => {
                self.live = Live::default();
                self.values.sweep_all();
                Phase::Ended(self.at, end)
            }
            None => {
                self.values.sweep();
                match self.aside {
                    Some(problem) => Phase::Parked(self.live, problem),
                    None => Phase::Live(self.live),
                }
            }
        };
        let Self { head, tally, values, errands, commands, .. } = self;
        let run = Run { head, tally, values, errands, phase, checked: true };
        Outcome { run: Some(run), commands, answer }
    }

    /// Does something whose expressions have the work of one step together.
    pub(crate) fn one_step<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let (value, spent) = budget::step(|| f(self));
        self.work = self.work.saturating_add(spent);
        value
    }

    fn let_on(&mut self, ready: Ready) {
        match ready {
            Ready::Enter(place, node, raw) => match self.plan.get(node) {
                Some(node) => self.enter(place, node, raw),
                None => self.fault_run(Problem::standard(Standard::Runtime, Broken::Entry(node.0).to_string())),
            },
            Ready::Fill(frame) => self.fill(frame),
        }
    }

    /// Tokens that could still go on wait for the run's next turn, behind those that have waited before them.
    fn ask_for_a_turn(&mut self) {
        if self.live.ready.is_empty() {
            self.live.turn = None;
            return;
        }
        self.live.ready.rotate_left(1);
        if self.live.turn.is_none() {
            self.live.last.turn += 1;
            self.live.turn = Some(self.live.last.turn);
            self.commands.push(Command::Yield { number: self.live.last.turn });
        }
    }

    /// The run as it was.
    fn unchanged(self, answer: Folded) -> Outcome {
        let phase = Phase::Live(self.live);
        let Self { head, tally, values, errands, .. } = self;
        let run = Run { head, tally, values, errands, phase, checked: true };
        Outcome { run: Some(run), commands: Vec::new(), answer }
    }

    /// Ends the run: at once, or when what it has done is undone.
    pub(crate) fn finish(&mut self, end: End) {
        self.close_all();
        match end {
            End::Faulted(_) | End::Cancelled(_) if !self.live.undo.is_empty() => self.begin_undoing(end),
            End::Completed(_) | End::Faulted(_) | End::Cancelled(_) => self.end_with(end),
        }
    }

    /// Ends the run for good.
    fn end_with(&mut self, end: End) {
        if self.head.parent.as_ref().is_some_and(|parent| parent.waits) {
            self.send(Errand::Tell);
        }
        self.end = Some(end);
    }

    /// Ends the run with an error.
    pub(crate) fn fault_run(&mut self, problem: Problem) {
        if self.live.ending.is_some() {
            return self.undoing_failed(problem);
        }
        let problem = self.hold_problem(&problem);
        self.finish(End::Faulted(problem));
    }

    /// A problem as a value of the run: shortened where it is larger than a value may be.
    pub(crate) fn hold_problem(&mut self, problem: &Problem) -> Held {
        let value = serde_json::to_value(problem).unwrap_or_default();
        if Values::fits(&value) {
            return self.values.keep(value.into());
        }
        let value = serde_json::to_value(shortened(problem)).unwrap_or_default();
        self.values.keep(value.into())
    }
}
