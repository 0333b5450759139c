//! Model calls that nothing limits.

use serde_json::Value;

use super::Check;
use super::bound::{self, Most};
use crate::mistake::Severity::{Error, Warning};
use crate::plan::{Node, NodeKind};

/// The step that is an agent: it calls models until it is done.
pub(super) const AGENT: &str = "agent";
/// The step that calls a model once.
pub(super) const LLM: &str = "llm";

/// `metadata.budget` of a task, or `with.budget` of its call.
pub(super) fn of(node: &Node) -> Option<&Value> {
    ["metadata", "with"].iter().find_map(|key| node.definition.get(key)?.get("budget"))
}

pub(super) fn check(check: &mut Check<'_>) {
    for node in check.reached() {
        let NodeKind::Call(call) = &node.kind else { continue };
        if call.kind.as_str() == AGENT && of(node).is_none() {
            let message = format!("agent `{}` has no budget", node.name);
            let help = "add `metadata: { budget: { turns: 10, money: 1 } }`: without one nothing limits what it spends";
            check.note(Error, "missing-budget", node.id, message, help);
        }
    }
    // a loop of model calls spends without end unless something says how much
    let is_limited = |node: &Node| {
        let mut at = Some(node);
        while let Some(node) = at {
            if of(node).is_some() {
                return true;
            }
            at = node.parent.and_then(|id| check.plan.get(id));
        }
        check.plan.document.get("metadata").is_some_and(|m| m.get("budget").is_some())
    };
    let bounds = bound::bounds(check);
    if bounds.model_calls != Most::Unbounded {
        return;
    }
    let loops: Vec<&Node> = check
        .reached()
        .filter(|node| bounds.unbounded.iter().any(|u| u.rounds && u.model_calls && u.path == *node.path.0))
        .filter(|node| !is_limited(node))
        .collect();
    for node in loops {
        let message =
            format!("the loop that begins at `{}` calls a model any number of times, without a budget", node.name);
        let help = "count its rounds and leave it with a `switch`, or add `metadata: { budget: { money: 1 } }` to a task around it";
        check.note(Warning, "missing-budget", node.id, message, help);
    }
}
