//! How many steps, model calls and how much money one run can cost at most, where that can be told from the definition.

use serde::{Serialize, Serializer};
use serde_json::Value;
use stepmill_protocol::limit::ATTEMPTS_MAX;

use super::Check;
use super::budget::{self, AGENT, LLM};
use super::endless::{is_round, rounds};
use super::flow::items;
use crate::plan::{Node, NodeId, NodeKind};

/// Money is counted in millionths.
const MILLIONTHS: f64 = 1_000_000.0;

/// An upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// Not more than this.
    AtMost(u64),
    /// The definition sets none.
    Unbounded,
}

impl Most {
    const ZERO: Self = Self::AtMost(0);

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(a), Self::AtMost(b)) => Self::AtMost(a.saturating_add(b)),
            (Self::Unbounded, _) | (_, Self::Unbounded) => Self::Unbounded,
        }
    }

    fn times(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(0), _) | (_, Self::AtMost(0)) => Self::ZERO,
            (Self::AtMost(a), Self::AtMost(b)) => Self::AtMost(a.saturating_mul(b)),
            (Self::Unbounded, _) | (_, Self::Unbounded) => Self::Unbounded,
        }
    }

    fn larger(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(a), Self::AtMost(b)) => Self::AtMost(a.max(b)),
            (Self::Unbounded, _) | (_, Self::Unbounded) => Self::Unbounded,
        }
    }

    fn smaller(self, other: Self) -> Self {
        match (self, other) {
            (Self::AtMost(a), Self::AtMost(b)) => Self::AtMost(a.min(b)),
            (known @ Self::AtMost(_), Self::Unbounded) | (Self::Unbounded, known) => known,
        }
    }
}

/// A number, or null where there is no bound.
impl Serialize for Most {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(n) => serializer.serialize_u64(*n),
            Self::Unbounded => serializer.serialize_none(),
        }
    }
}

/// What one run can cost at most: retries and rounds of loops included, not what is repeated because a worker died.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Attempts at steps that workers run.
    pub steps: Most,
    /// Calls of models.
    pub model_calls: Most,
    /// What the budgets of the definition allow; none where a model call has no budget, or nothing bounds their number.
    pub money: Option<f64>,
    /// What sets no bound.
    pub unbounded: Vec<Unbounded>,
}

/// A part of a definition that sets no bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unbounded {
    /// Its place in the plan.
    pub path: String,
    /// Why, as a sentence without its end.
    pub why: String,
    /// Whether it is a loop that leads back to an earlier task.
    #[serde(skip)]
    pub(super) rounds: bool,
    /// Whether it makes any number of model calls.
    pub model_calls: bool,
}

#[derive(Clone, Copy, PartialEq)]
struct Cost {
    steps: Most,
    calls: Most,
    /// None: some call has no budget.
    money: Option<Most>,
}

impl Cost {
    const NOTHING: Self = Self { steps: Most::ZERO, calls: Most::ZERO, money: Some(Most::ZERO) };

    fn plus(self, other: Self) -> Self {
        let money = self.money.zip(other.money).map(|(a, b)| a.plus(b));
        Self { steps: self.steps.plus(other.steps), calls: self.calls.plus(other.calls), money }
    }

    fn times(self, n: Most) -> Self {
        let money = if n == Most::ZERO { Some(Most::ZERO) } else { self.money.map(|m| m.times(n)) };
        Self { steps: self.steps.times(n), calls: self.calls.times(n), money }
    }

    fn larger(self, other: Self) -> Self {
        let money = self.money.zip(other.money).map(|(a, b)| a.larger(b));
        Self { steps: self.steps.larger(other.steps), calls: self.calls.larger(other.calls), money }
    }

    fn capped(self, budget: Option<u64>) -> Self {
        let Some(budget) = budget.map(Most::AtMost) else { return self };
        Self { money: Some(self.money.map_or(budget, |money| money.smaller(budget))), ..self }
    }
}

pub(super) fn bounds(check: &Check<'_>) -> Bounds {
    let mut count = Count { check, unbounded: Vec::new() };
    let run = check.plan.document.get("metadata").and_then(|m| m.get("budget")).and_then(money);
    let cost = count.node(check.plan.root).capped(run);
    let money = match cost.money {
        Some(Most::AtMost(millionths)) => Some(millionths as f64 / MILLIONTHS),
        Some(Most::Unbounded) | None => None,
    };
    Bounds { steps: cost.steps, model_calls: cost.calls, money, unbounded: count.unbounded }
}

/// What a budget allows to be spent.
fn money(budget: &Value) -> Option<u64> {
    let money = budget.get("money")?.as_f64().filter(|m| m.is_finite() && *m >= 0.0)?;
    // a float that is too large becomes the largest number
    Some((money * MILLIONTHS).ceil() as u64)
}

struct Count<'c, 'p> {
    check: &'c Check<'p>,
    unbounded: Vec<Unbounded>,
}

impl Count<'_, '_> {
    /// What one entry into a node costs at most.
    fn node(&mut self, id: NodeId) -> Cost {
        if !self.check.flow.is_reached(id) {
            return Cost::NOTHING;
        }
        let node = self.check.plan.node(id);
        let cost = match &node.kind {
            NodeKind::Do { children } => self.list(children),
            NodeKind::For { items: list, body, .. } => {
                let once = self.node(*body);
                match items(list) {
                    Some(n) => once.times(Most::AtMost(n)),
                    None => self.any_number(node, once, false, "the length of its list is not known"),
                }
            }
            NodeKind::Fork { branches, .. } => {
                branches.iter().fold(Cost::NOTHING, |sum, branch| sum.plus(self.node(*branch)))
            }
            NodeKind::Try { body, catch } => {
                let passes = catch.retry.as_ref().map_or(1, |retry| retry.attempts_max.unwrap_or(ATTEMPTS_MAX));
                let after = catch.body.map_or(Cost::NOTHING, |body| self.node(body));
                self.node(*body).times(Most::AtMost(u64::from(passes))).plus(after)
            }
            NodeKind::Scope { body, .. } => self.node(*body),
            // a run that is started counts for itself
            NodeKind::Call(call) if call.system.is_some() => Cost::NOTHING,
            NodeKind::Call(call) => self.call(node, call.kind.as_str()),
            NodeKind::Listen(listen) => match listen.body() {
                Some(body) => {
                    let once = self.node(body);
                    if listen.events.goes_on() {
                        self.any_number(node, once, false, "it listens for any number of events")
                    } else {
                        once.times(Most::AtMost(listen.events.own as u64))
                    }
                }
                None => Cost::NOTHING,
            },
            NodeKind::Set { .. } | NodeKind::Switch { .. } | NodeKind::Raise { .. } | NodeKind::Wait { .. } => {
                Cost::NOTHING
            }
        };
        cost.capped(budget::of(node).and_then(money))
    }

    fn call(&mut self, node: &Node, kind: &str) -> Cost {
        let once = Cost { steps: Most::AtMost(1), ..Cost::NOTHING };
        let budget = budget::of(node);
        match kind {
            LLM => Cost { calls: Most::AtMost(1), money: budget.and_then(money).map(Most::AtMost), ..once },
            AGENT => {
                let turns = budget.and_then(|b| b.get("turns")).and_then(Value::as_u64);
                if turns.is_none() {
                    self.note(node, "its budget does not limit its turns", false, true);
                }
                let calls = turns.map_or(Most::Unbounded, Most::AtMost);
                Cost { calls, money: budget.and_then(money).map(Most::AtMost), ..once }
            }
            _ => Cost { money: Some(Most::AtMost(budget.and_then(money).unwrap_or(0))), ..once },
        }
    }

    /// The dearest way through a list.
    fn list(&mut self, children: &[NodeId]) -> Cost {
        let edges = self.check.flow.edges(children);
        let costs: Vec<Cost> = children.iter().map(|id| self.node(*id)).collect();
        let mut from = vec![Cost::NOTHING; children.len() + 1];
        // what comes later is known before what leads to it
        for group in rounds(&edges) {
            let own = group.iter().filter_map(|i| costs.get(*i)).fold(Cost::NOTHING, |sum, cost| sum.plus(*cost));
            let own = match group.iter().min().and_then(|i| children.get(*i)) {
                Some(first) if is_round(&group, &edges) => {
                    let first = self.check.plan.node(*first);
                    self.any_number(first, own, true, "a later task leads back to it")
                }
                Some(_) | None => own,
            };
            let outside = group.iter().filter_map(|i| edges.get(*i)).flatten().filter(|to| !group.contains(to));
            let after = outside.filter_map(|to| from.get(*to)).fold(Cost::NOTHING, |most, cost| most.larger(*cost));
            for i in &group {
                if let Some(slot) = from.get_mut(*i) {
                    *slot = own.plus(after);
                }
            }
        }
        from.first().copied().unwrap_or(Cost::NOTHING)
    }

    fn any_number(&mut self, node: &Node, once: Cost, rounds: bool, why: &str) -> Cost {
        if once != Cost::NOTHING {
            self.note(node, why, rounds, once.calls != Most::ZERO);
        }
        once.times(Most::Unbounded)
    }

    fn note(&mut self, node: &Node, why: &str, rounds: bool, model_calls: bool) {
        let path = node.path.0.to_string();
        self.unbounded.push(Unbounded { path, why: format!("`{}`: {why}", node.name), rounds, model_calls });
    }
}
