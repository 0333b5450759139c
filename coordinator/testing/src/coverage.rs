//! Which nodes and branches of a definition its cases reach.

use std::collections::BTreeMap;

use serde::Serialize;
use stepmill_definition::plan::{Node, NodeId, NodeKind, Part, Plan};

use crate::names::Names;
use crate::outcome::Outcome;

/// A place that a case can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Node(NodeId),
    If(NodeId, bool),
    Case(NodeId, Option<usize>),
    Items(NodeId, bool),
    While(NodeId),
    Retried(NodeId),
    Caught(NodeId),
}

/// What kind of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpotKind {
    /// A step is entered.
    Node,
    /// One of several ways is taken.
    Branch,
}

/// A place that a case can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// What kind.
    pub kind: SpotKind,
    /// The step's path.
    pub path: String,
    /// Which branch, in words; empty for a node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    /// How often it was reached.
    pub hits: u64,
}

/// What the cases of a definition reach of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    spots: Vec<Spot>,
    /// Where in the list.
    places: BTreeMap<Key, usize>,
}

impl Coverage {
    /// Of a plan, with nothing reached.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut steps: Vec<&Node> = Names::of(plan).steps().collect();
        steps.sort_by_cached_key(|node| order(&node.path.0));
        let (mut spots, mut places) = (Vec::new(), BTreeMap::new());
        for node in steps {
            let mut add = |key, kind, branch: String| {
                places.insert(key, spots.len());
                spots.push(Spot { kind, path: node.path.0.as_ref().into(), branch, hits: 0 });
            };
            add(Key::Node(node.id), SpotKind::Node, String::new());
            for (key, branch) in branches(plan, node) {
                add(key, SpotKind::Branch, branch);
            }
        }
        Self { spots, places }
    }

    /// Adds what a case reached.
    pub fn add(&mut self, outcome: &Outcome) {
        for (key, hits) in &outcome.hits {
            if let Some(spot) = self.places.get(key).and_then(|at| self.spots.get_mut(*at)) {
                spot.hits = spot.hits.saturating_add(*hits);
            }
        }
    }

    /// All places, in the order of the definition.
    pub fn spots(&self) -> impl Iterator<Item = &Spot> {
        self.spots.iter()
    }

    /// Those that no case reached.
    pub fn missed(&self) -> impl Iterator<Item = &Spot> {
        self.spots().filter(|spot| spot.hits == 0)
    }

    /// How many places of a kind were reached, and how many there are.
    #[must_use]
    pub fn count(&self, kind: SpotKind) -> (usize, usize) {
        let of_kind = || self.spots().filter(|spot| spot.kind == kind);
        (of_kind().filter(|spot| spot.hits > 0).count(), of_kind().count())
    }

    /// The part that was reached, in percent; all of nothing is 100.
    #[must_use]
    pub fn percent(&self, kind: SpotKind) -> f64 {
        match self.count(kind) {
            (_, 0) => 100.0,
            (reached, all) => reached as f64 * 100.0 / all as f64,
        }
    }
}

/// Paths in the order of the definition: the second task before the tenth.
fn order(path: &str) -> Vec<(usize, String)> {
    path.split('/').map(|segment| (segment.parse().unwrap_or(usize::MAX), segment.to_owned())).collect()
}

fn branches(plan: &Plan, node: &Node) -> Vec<(Key, String)> {
    let id = node.id;
    let mut found = Vec::new();
    // The list around an extended task has its `if`.
    let around = node.parent.filter(|_| node.part == Part::Extended).and_then(|parent| plan.get(parent));
    let asked = around.unwrap_or(node);
    if asked.condition.is_some() {
        found.push((Key::If(id, true), "`if` holds".into()));
        found.push((Key::If(asked.id, false), "`if` does not hold".into()));
    }
    if let NodeKind::Switch { cases } = &node.kind {
        found.extend(cases.iter().enumerate().map(|(n, case)| (Key::Case(id, Some(n)), format!("case {}", case.name))));
        if cases.iter().all(|case| case.when.is_some()) {
            found.push((Key::Case(id, None), "no case holds".into()));
        }
    }
    if let NodeKind::For { items, while_, .. } = &node.kind {
        let count = stepmill_definition::check::items(items);
        if count != Some(0) {
            found.push((Key::Items(id, true), "there are items".into()));
        }
        if count.is_none_or(|n| n == 0) {
            found.push((Key::Items(id, false), "there are no items".into()));
        }
        if while_.is_some() {
            found.push((Key::While(id), "`while` ends it".into()));
        }
    }
    if let NodeKind::Try { catch, .. } = &node.kind {
        if catch.retry.as_ref().is_some_and(|retry| retry.attempts_max != Some(1)) {
            found.push((Key::Retried(id), "tried again".into()));
        }
        if !catch.only_retries() {
            found.push((Key::Caught(id), "an error is caught".into()));
        }
    }
    found
}
