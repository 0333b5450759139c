//! The arrows of a picture: where a token can go after a task, and on what condition.

use crate::check::flow::{Flow, always};
use crate::plan::{Next, Node, NodeId, NodeKind, Part, Plan};

/// Where an arrow leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a task of the same list, by index; the list's length is its end.
    Task(usize),
    /// The run ends.
    End,
}

/// An arrow from a task of a list.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) from: usize,
    pub(super) to: Target,
    /// When it is taken; none where it always is.
    pub(super) when: Option<String>,
}

/// All arrows of a list.
pub(super) fn ways(plan: &Plan, flow: &Flow<'_>, children: &[NodeId]) -> Vec<Way> {
    let target = |from: usize, next: Next| match next {
        Next::Continue => Target::Task(from + 1),
        Next::To(id) => Target::Task(children.iter().position(|c| *c == id).unwrap_or(children.len())),
        Next::Exit | Next::Leave => Target::Task(children.len()),
        Next::End => Target::End,
    };
    let mut all: Vec<Way> = Vec::new();
    for (from, id) in children.iter().enumerate() {
        for (next, when) in of(plan, plan.node(*id), flow) {
            let way = Way { from, to: target(from, next), when };
            // one arrow for all the reasons to go the same way
            match all.iter_mut().find(|w| w.from == from && w.to == way.to) {
                Some(same) => same.when = same.when.take().zip(way.when).map(|(a, b)| format!("{a}, {b}")),
                None => all.push(way),
            }
        }
    }
    all
}

fn of(plan: &Plan, node: &Node, flow: &Flow<'_>) -> Vec<(Next, Option<String>)> {
    if node.part == Part::Extended {
        // the list around it shows where it leads
        return flow.passes(node.id).then_some((Next::Continue, None)).into_iter().collect();
    }
    if let Some(core) = node.extended(|id| plan.get(id)) {
        let mut ways = kinds(core, flow);
        let skipped = node.condition.is_some() && !ways.iter().any(|(next, _)| *next == Next::Continue);
        ways.extend(skipped.then(|| (Next::Continue, Some("if not".into()))));
        return ways;
    }
    kinds(node, flow)
}

fn kinds(node: &Node, flow: &Flow<'_>) -> Vec<(Next, Option<String>)> {
    let mut ways: Vec<(Next, Option<String>)> = match &node.kind {
        NodeKind::Switch { cases } => {
            let mut ways: Vec<_> = cases.iter().map(|case| (case.then, Some(case.name.to_string()))).collect();
            if cases.iter().all(|case| case.when.is_some()) {
                ways.push((node.then, Some("otherwise".into())));
            }
            ways
        }
        NodeKind::Try { body, catch } => {
            let passes = flow.passes(*body).then_some((node.then, None));
            let caught = (!catch.only_retries() && catch.body.is_none_or(|body| flow.passes(body))).then_some(());
            let caught = caught.map(|()| (catch.then.unwrap_or(node.then), Some("caught".into())));
            passes.into_iter().chain(caught).collect()
        }
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Listen(_)
        | NodeKind::Call(_) => flow.passes(node.id).then_some((node.then, None)).into_iter().collect(),
    };
    let skipped = node.condition.is_some() && always(node.condition.as_ref()) != Some(true);
    if skipped && !ways.iter().any(|(next, _)| *next == Next::Continue) {
        ways.push((Next::Continue, Some("if not".into())));
    }
    ways
}
