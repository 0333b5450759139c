//! Where tokens can go in a plan: from task to task within each list, and which tasks a token ever gets to.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::expression::Expression;
use crate::plan::{Join, Next, Node, NodeId, NodeKind, Part, Plan, Template};

/// Whether a condition always has the same outcome.
pub(crate) fn always(condition: Option<&Expression>) -> Option<bool> {
    condition?.constant().map(|value| !matches!(value, Value::Null | Value::Bool(false)))
}

/// The value of a template, where it is the same whatever happens.
pub(crate) fn constant(template: &Template) -> Option<Value> {
    match template {
        Template::Const(value) => Some(Value::clone(value)),
        Template::Expr(expression) => expression.constant(),
        Template::Array(_) | Template::Object(_) => None,
    }
}

/// The number of items of a `for`, where it is known.
pub fn items(template: &Template) -> Option<u64> {
    match template {
        Template::Array(items) => u64::try_from(items.len()).ok(),
        Template::Const(_) | Template::Expr(_) | Template::Object(_) => match constant(template)? {
            Value::Array(items) => u64::try_from(items.len()).ok(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
        },
    }
}

/// The nodes directly inside of a node, in the order of the definition.
pub(crate) fn children(node: &Node) -> Vec<NodeId> {
    match &node.kind {
        NodeKind::Do { children } => children.clone(),
        NodeKind::For { body, .. } | NodeKind::Scope { body, .. } => vec![*body],
        NodeKind::Fork { branches, .. } => branches.clone(),
        NodeKind::Try { body, catch } => std::iter::once(*body).chain(catch.body).collect(),
        NodeKind::Listen(listen) => listen.body().into_iter().collect(),
        NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Call(_) => Vec::new(),
    }
}

/// A node and everything inside of it.
pub(crate) fn within(plan: &Plan, root: NodeId) -> Vec<&Node> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(node) = open.pop().and_then(|id| plan.get(id)) {
        found.push(node);
        open.extend(children(node));
    }
    found
}

/// Where tokens can go.
pub(crate) struct Flow<'p> {
    plan: &'p Plan,
    /// Whether a token that enters the node may leave it for its `then`, by node.
    passes: Vec<bool>,
    /// Whether a token ever gets to the node, by node.
    reached: Vec<bool>,
}

impl<'p> Flow<'p> {
    pub(crate) fn of(plan: &'p Plan) -> Self {
        let mut flow = Self { plan, passes: vec![true; plan.nodes.len()], reached: vec![false; plan.nodes.len()] };
        // what is inside of a node is judged before the node
        let mut order: Vec<&Node> = within(plan, plan.root);
        order.reverse();
        for node in order {
            let passes = flow.lets_pass(node);
            flow.set_passes(node.id, passes);
        }
        let mut open = vec![plan.root];
        while let Some(id) = open.pop() {
            let Some(seen) = flow.reached.get_mut(id.0 as usize) else { continue };
            if !std::mem::replace(seen, true) {
                open.extend(flow.entered(plan.node(id)));
            }
        }
        flow
    }

    fn set_passes(&mut self, id: NodeId, passes: bool) {
        if let Some(slot) = self.passes.get_mut(id.0 as usize) {
            *slot = passes;
        }
    }

    pub(crate) fn passes(&self, id: NodeId) -> bool {
        self.passes.get(id.0 as usize).copied().unwrap_or(true)
    }

    pub(crate) fn is_reached(&self, id: NodeId) -> bool {
        self.reached.get(id.0 as usize).copied().unwrap_or(false)
    }

    fn lets_pass(&self, node: &Node) -> bool {
        match &node.kind {
            NodeKind::Do { children } => self.list_ends(children),
            NodeKind::For { join: Join::Settled, .. } | NodeKind::Fork { join: Join::Settled, .. } => true,
            NodeKind::For { items: list, while_, body, .. } => {
                while_.is_some() || items(list).is_none_or(|n| n == 0) || self.passes(*body)
            }
            NodeKind::Fork { branches, join } => {
                let passing = branches.iter().filter(|b| self.passes(**b)).count();
                let all = u64::try_from(branches.len()).unwrap_or(u64::MAX);
                u64::try_from(passing).unwrap_or(u64::MAX) >= join.needs().unwrap_or(all).min(all)
            }
            NodeKind::Scope { body, .. } => self.passes(*body),
            NodeKind::Try { body, catch } => {
                let caught = !catch.only_retries() && catch.body.is_none_or(|b| self.passes(b));
                self.passes(*body) || catch.then.is_some() || caught
            }
            NodeKind::Raise { .. } => false,
            NodeKind::Listen(listen) => listen.ends(),
            NodeKind::Set { .. } | NodeKind::Switch { .. } | NodeKind::Wait { .. } | NodeKind::Call(_) => true,
        }
    }

    /// Whether a token that enters a list may come to its end.
    fn list_ends(&self, children: &[NodeId]) -> bool {
        let reached = self.reached_in(children);
        let ends =
            |node: &NodeId| self.ways_in(self.plan.node(*node)).iter().any(|n| self.leads_out(children, *node, *n));
        children.is_empty() || children.iter().zip(reached).any(|(node, reached)| reached && ends(node))
    }

    fn leads_out(&self, children: &[NodeId], from: NodeId, next: Next) -> bool {
        match next {
            Next::Exit | Next::Leave => true,
            Next::Continue => children.last() == Some(&from),
            Next::To(_) | Next::End => false,
        }
    }

    /// Which tasks of a list a token gets to that enters the list.
    pub(crate) fn reached_in(&self, children: &[NodeId]) -> Vec<bool> {
        let edges = self.edges(children);
        let mut reached = vec![false; children.len()];
        let mut open = vec![0];
        while let Some(i) = open.pop() {
            let Some(seen) = reached.get_mut(i) else { continue };
            if !std::mem::replace(seen, true) {
                open.extend(edges.get(i).into_iter().flatten().copied());
            }
        }
        reached
    }

    /// For each task of a list, where a token goes next: an index, the list's length for its end.
    pub(crate) fn edges(&self, children: &[NodeId]) -> Vec<Vec<usize>> {
        let index: BTreeMap<NodeId, usize> = children.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let to = |i: usize, next: Next| match next {
            Next::Continue => Some(i + 1),
            Next::To(id) => index.get(&id).copied(),
            Next::Exit | Next::Leave => Some(children.len()),
            Next::End => None,
        };
        let all = |(i, id): (usize, &NodeId)| {
            let mut ways: Vec<usize> =
                self.ways_in(self.plan.node(*id)).into_iter().filter_map(|next| to(i, next)).collect();
            ways.sort_unstable();
            ways.dedup();
            ways
        };
        children.iter().enumerate().map(all).collect()
    }

    /// Where a token may go after a node, seen from the list that it lies in: what an extended task says counts for the list
    /// around it.
    fn ways_in(&self, node: &Node) -> Vec<Next> {
        let ways = self.ways(node);
        if node.part == Part::Extended && !ways.is_empty() { vec![Next::Continue] } else { ways }
    }

    /// Where a token may go after a node.
    pub(crate) fn ways(&self, node: &Node) -> Vec<Next> {
        let mut ways = Vec::new();
        let condition = always(node.condition.as_ref());
        if node.condition.is_some() && condition != Some(true) {
            ways.push(Next::Continue);
        }
        if condition == Some(false) {
            return ways;
        }
        if let Some(core) = node.extended(|id| self.plan.get(id)) {
            ways.extend(self.ways(core));
            ways.push(node.then);
            return ways;
        }
        match &node.kind {
            NodeKind::Switch { cases } => {
                let mut open = true;
                for case in cases {
                    let holds = case.when.as_ref().map_or(Some(true), |when| always(Some(when)));
                    if open && holds != Some(false) {
                        ways.push(case.then);
                    }
                    open &= holds != Some(true);
                }
                if open {
                    ways.push(node.then);
                }
            }
            NodeKind::Try { body, catch } => {
                if self.passes(*body) {
                    ways.push(node.then);
                }
                if !catch.only_retries() && catch.body.is_none_or(|b| self.passes(b)) {
                    ways.push(catch.then.unwrap_or(node.then));
                }
            }
            NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => {
                if self.passes(node.id) {
                    ways.push(node.then);
                }
            }
        }
        ways
    }

    /// The nodes inside of a node that a token may get to once it is in the node.
    fn entered(&self, node: &Node) -> Vec<NodeId> {
        if always(node.condition.as_ref()) == Some(false) {
            return Vec::new();
        }
        match &node.kind {
            NodeKind::Do { children } => {
                let reached = self.reached_in(children);
                children.iter().zip(reached).filter(|(_, reached)| *reached).map(|(id, _)| *id).collect()
            }
            NodeKind::For { items: list, while_, body, .. } => {
                let never = items(list) == Some(0) || always(while_.as_ref()) == Some(false);
                if never { Vec::new() } else { vec![*body] }
            }
            NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => children(node),
        }
    }
}
