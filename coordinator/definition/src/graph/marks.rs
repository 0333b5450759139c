//! The state of a run, task by task: what is known from its view and from the reports in its history.

use std::collections::BTreeMap;

use serde_json::Value;
use stepmill_protocol::api::{HistoryEntry, RunState, RunView, WaitsFor};

use super::way::{Target, ways};
use crate::check::flow::{Flow, within};
use crate::plan::{Join, Node, NodeId, NodeKind, Plan};

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The run has passed it.
    Done,
    /// Its last attempt failed.
    Failed,
    /// It waits: for time, its next attempt or its turn.
    Waiting,
    /// A worker has it, or something inside of it is under way.
    Active,
}

/// What is known of a task in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How far it is.
    pub state: State,
    /// How often a worker finished it; 0 for tasks that no worker runs.
    pub times: u64,
    /// How many attempts at it failed.
    pub failures: u64,
}

/// What is known of all tasks, by path. Tasks that are not in it have not begun, as far as can be told.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    by_path: BTreeMap<String, Mark>,
    /// The run and its state, for a heading; none where only the definition is drawn.
    heading: Option<String>,
}

impl Marks {
    /// No run: only the definition.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The marks of a run. What workers did is in its history, where it is now in its view. Tasks that no worker runs (`set`,
    /// `switch` …) are marked as done where the run cannot have come to where it is without them.
    #[must_use]
    pub fn of_run(plan: &Plan, view: &RunView, history: &[HistoryEntry]) -> Self {
        let mut marks = Self { heading: Some(format!("run {}: {}", view.run, view.state.as_str())), ..Self::default() };
        for entry in history.iter().filter(|e| e.event == "report") {
            marks.report(&entry.record);
        }
        for step in &view.live {
            let state = match step.waits_for {
                WaitsFor::Report => State::Active,
                WaitsFor::Retry | WaitsFor::Time | WaitsFor::Event | WaitsFor::Turn => State::Waiting,
            };
            marks.entry(&step.path.0).state = state;
        }
        let place = view.error.as_ref().and_then(|e| e.instance.as_ref()).filter(|_| view.state == RunState::Faulted);
        if let Some(place) = place.filter(|place| plan.nodes.iter().any(|n| *n.path.0 == ***place)) {
            marks.entry(place).state = State::Failed;
        }
        let live = view.state == RunState::Running || view.state == RunState::Parked;
        let mut infer = Infer { plan, flow: Flow::of(plan), live, marks };
        infer.node(plan.root, view.state == RunState::Completed);
        infer.marks
    }

    /// What is known of a task.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Mark> {
        self.by_path.get(path).copied()
    }

    /// The run and its state.
    #[must_use]
    pub fn heading(&self) -> Option<&str> {
        self.heading.as_deref()
    }

    fn entry(&mut self, path: &str) -> &mut Mark {
        self.by_path.entry(path.to_owned()).or_insert(Mark { state: State::Done, times: 0, failures: 0 })
    }

    fn report(&mut self, record: &Value) {
        let Some(path) = record.get("path").and_then(Value::as_str) else { return };
        let succeeded = record.pointer("/outcome/succeeded").is_some();
        let mark = self.entry(path);
        if succeeded {
            mark.state = State::Done;
            mark.times += 1;
        } else {
            mark.state = State::Failed;
            mark.failures += 1;
        }
    }
}

/// Goes through the plan and marks what must have been passed, and what holds something that is under way.
struct Infer<'p> {
    plan: &'p Plan,
    flow: Flow<'p>,
    /// Whether the run has not ended.
    live: bool,
    marks: Marks,
}

impl Infer<'_> {
    /// Whether the run is known to have been in a node.
    fn been(&self, id: NodeId) -> bool {
        within(self.plan, id).iter().any(|n| self.marks.get(&n.path.0).is_some())
    }

    /// Whether the run is in a node now.
    fn is_at(&self, id: NodeId) -> bool {
        let here = |n: &&Node| {
            let state = self.marks.get(&n.path.0).map(|mark| mark.state);
            matches!(state, Some(State::Active | State::Waiting))
        };
        within(self.plan, id).iter().any(here)
    }

    /// Marks a node and what is inside of it. `passed`: the run is known to have left it.
    fn node(&mut self, id: NodeId, passed: bool) {
        let node = self.plan.node(id);
        let been = self.been(id);
        // what was skipped was passed as well: then nothing is known of its inside
        let ran = passed && node.condition.is_none();
        match &node.kind {
            NodeKind::Do { children } => self.list(children, ran),
            NodeKind::Fork { join, branches } => {
                branches.iter().for_each(|branch| self.node(*branch, ran && *join == Join::All));
            }
            NodeKind::Try { body, catch } => {
                let caught = catch.body.is_some_and(|body| self.been(body));
                self.node(*body, ran && !caught && catch.body.is_some());
                catch.body.into_iter().for_each(|body| self.node(body, ran && caught));
            }
            NodeKind::For { body, .. } => self.node(*body, false),
            NodeKind::Listen(listen) => listen.body().into_iter().for_each(|body| self.node(body, false)),
            NodeKind::Scope { body, .. } => self.node(*body, ran),
            NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Call(_) => {}
        }
        if self.marks.get(&node.path.0).is_none() && (been || ran) {
            let state = self.sum(node, passed);
            self.marks.entry(&node.path.0).state = state;
        }
    }

    /// The state of a node from the states of what is inside of it.
    fn sum(&self, node: &Node, passed: bool) -> State {
        let inner = within(self.plan, node.id).into_iter().filter_map(|n| self.marks.get(&n.path.0));
        match inner.map(|mark| mark.state).max() {
            Some(state @ (State::Active | State::Waiting)) => state,
            Some(State::Failed) if !passed => State::Failed,
            // something inside is done and the run has not left: it is on its way to the next
            Some(State::Done | State::Failed) | None if passed || !self.live => State::Done,
            Some(State::Done | State::Failed) | None => State::Active,
        }
    }

    /// A list: what lies on every way to a task that the run was in was passed.
    fn list(&mut self, children: &[NodeId], passed: bool) {
        let been = (0..children.len()).filter(|i| children.get(*i).is_some_and(|child| self.been(*child)));
        let targets: Vec<usize> = been.chain(passed.then_some(children.len())).collect();
        let all = ways(self.plan, &self.flow, children);
        // one token goes through a list: where it is at one task, it has left the others
        let at = children.iter().position(|child| self.is_at(*child));
        for (i, child) in children.iter().enumerate() {
            let needed = |to: &usize| *to != i && !reaches(&all, children.len(), *to, i);
            let left = at.is_some_and(|at| at != i) && targets.contains(&i);
            self.node(*child, left || targets.iter().any(needed));
        }
    }
}

/// Whether a token can get from the beginning of a list to `to` without `avoid`.
fn reaches(ways: &[super::way::Way], length: usize, to: usize, avoid: usize) -> bool {
    let mut seen = vec![false; length + 1];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if at == avoid {
            continue;
        }
        if at == to {
            return true;
        }
        let Some(slot) = seen.get_mut(at) else { continue };
        if std::mem::replace(slot, true) {
            continue;
        }
        for way in ways.iter().filter(|w| w.from == at) {
            match way.to {
                Target::Task(next) => open.push(next),
                // the end of the run is behind the end of every list
                Target::End if to == length => return true,
                Target::End => {}
            }
        }
    }
    false
}
