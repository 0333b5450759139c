//! Loops that nothing ends, and conditions of loops that are always the same.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Check;
use super::flow::{always, within};
use crate::mistake::Severity::{Error, Warning};
use crate::plan::{Next, Node, NodeId, NodeKind};

/// The tasks of a list in groups that a token can go round in, the last to be entered first. A task that cannot be come back
/// to is a group of its own. The index after the last task is the list's end.
pub(super) fn rounds(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut graph: DiGraph<(), (), usize> = DiGraph::default();
    for _ in 0..=edges.len() {
        graph.add_node(());
    }
    for (from, to) in edges.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to))) {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    kosaraju_scc(&graph).into_iter().map(|group| group.into_iter().map(NodeIndex::index).collect()).collect()
}

/// Whether a token can go round in a group.
pub(super) fn is_round(group: &[usize], edges: &[Vec<usize>]) -> bool {
    match group {
        [one] => edges.get(*one).is_some_and(|to| to.contains(one)),
        _ => group.len() > 1,
    }
}

pub(super) fn check(check: &mut Check<'_>) {
    let lists = check.reached();
    for node in lists {
        match &node.kind {
            NodeKind::Do { children } => list(check, node, children),
            NodeKind::For { .. } => while_(check, node),
            NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => {}
        }
    }
}

fn list(check: &mut Check<'_>, owner: &Node, children: &[NodeId]) {
    let (plan, flow) = (check.plan, check.flow);
    let edges = flow.edges(children);
    for group in rounds(&edges).into_iter().filter(|group| is_round(group, &edges)) {
        let tasks: Vec<NodeId> = group.iter().filter_map(|i| children.get(*i).copied()).collect();
        if tasks.iter().any(|id| !flow.is_reached(*id)) {
            continue;
        }
        let leaves = |i: &usize| edges.get(*i).is_some_and(|to| to.iter().any(|to| !group.contains(to)));
        let inside: Vec<&Node> = tasks.iter().flat_map(|id| within(plan, *id)).collect();
        let stops = |node: &&Node| {
            let raises = matches!(node.kind, NodeKind::Raise { .. });
            flow.is_reached(node.id) && (raises || flow.ways(node).contains(&Next::End))
        };
        if group.iter().any(leaves) || inside.iter().any(stops) || super::timeout::above(plan, owner) {
            continue;
        }
        let first = group.iter().min().and_then(|i| children.get(*i)).copied().unwrap_or(owner.id);
        let name = &plan.node(first).name;
        if inside.iter().any(|node| waits(node)) {
            let message = format!("nothing ends the loop that begins at `{name}` but a failure or a cancel");
            let help = "give it a way out (a `switch`, `then: exit`), or a `timeout` to a task around it";
            check.note(Warning, "endless-loop", first, message, help);
        } else {
            let message = format!("the loop that begins at `{name}` never ends and never waits");
            let help = "lead out of it with a `switch` or an `if`";
            check.note(Error, "endless-loop", first, message, help);
        }
    }
}

/// Whether time passes in a node.
fn waits(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Wait { .. } | NodeKind::Call(_) | NodeKind::Listen(_) => true,
        NodeKind::Do { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Try { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Raise { .. } => false,
    }
}

/// Says when a `while` looks at nothing that an iteration can change.
fn while_(check: &mut Check<'_>, node: &Node) {
    let NodeKind::For { each, at, while_: Some(condition), body, .. } = &node.kind else { return };
    let reads = condition.reads();
    let exports = || within(check.plan, *body).iter().any(|n| n.flow.export_as.is_some());
    let changes = |name: &str| match name {
        "context" => exports(),
        "workflow" | "secrets" | "runtime" => false,
        // variables of tasks around the loop stay as they are; what else there is may change
        "input" | "output" | "task" | "authorization" => true,
        other => other == &**each || other == &**at,
    };
    if reads.input || reads.variables.iter().any(|name| changes(name)) || always(Some(condition)) == Some(false) {
        return;
    }
    let message =
        format!("`while` of loop `{}` is the same before each iteration: it never ends the loop early", node.name);
    let help = "let it look at `.`, `$index` or what an iteration exports, or remove it";
    check.note_at(Warning, "constant-condition", node, "/while", message, help);
}
