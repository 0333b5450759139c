//! Tasks that no token ever gets to, and cases that are never looked at.

use super::Check;
use super::flow::{always, items};
use crate::mistake::Severity::Warning;
use crate::plan::{Node, NodeKind};

pub(super) fn check(check: &mut Check<'_>) {
    let (plan, flow) = (check.plan, check.flow);
    for node in check.reached() {
        if always(node.condition.as_ref()) == Some(false) {
            let message = format!("task `{}` never runs: its `if` never holds", node.name);
            check.note_at(Warning, "unreachable", node, "/if", message, "remove the task, or correct its `if`");
            continue;
        }
        match &node.kind {
            NodeKind::Do { children } => {
                for (id, _) in children.iter().zip(flow.reached_in(children)).filter(|(_, reached)| !reached) {
                    let message = format!("task `{}` is never reached", plan.node(*id).name);
                    let help = "remove it, or lead to it with `then` or a case of a `switch`";
                    check.note(Warning, "unreachable", *id, message, help);
                }
            }
            NodeKind::For { items: list, while_, .. } => {
                let never = match (items(list), always(while_.as_ref())) {
                    (Some(0), _) => Some(("/for/in", "its list is empty")),
                    (_, Some(false)) => Some(("/while", "its `while` never holds")),
                    (_, Some(true) | None) => None,
                };
                if let Some((below, why)) = never {
                    let message = format!("the tasks of loop `{}` never run: {why}", node.name);
                    check.note_at(Warning, "unreachable", node, below, message, "remove the loop, or correct it");
                }
            }
            NodeKind::Switch { .. } => cases(check, node),
            NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Set { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => {}
        }
    }
}

/// Cases behind one that always holds, and cases that never hold. A case without `when` that is not the last is said by the compiler.
fn cases(check: &mut Check<'_>, node: &Node) {
    let NodeKind::Switch { cases } = &node.kind else { return };
    let mut certain: Option<&str> = None;
    for (i, case) in cases.iter().enumerate() {
        let below = format!("/switch/{i}/{}", crate::tree::escape(&case.name));
        if let Some(before) = certain {
            let message = format!("the case `{}` is never looked at: `{before}` always holds", case.name);
            check.note_at(Warning, "unreachable", node, &below, message, "remove it, or put it further up");
            continue;
        }
        match always(case.when.as_ref()) {
            Some(true) => certain = Some(&case.name),
            Some(false) => {
                let message = format!("the case `{}` never holds", case.name);
                check.note_at(Warning, "unreachable", node, &below, message, "remove it, or correct its `when`");
            }
            None => {}
        }
    }
}
