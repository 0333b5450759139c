//! Tasks that may wait for others without end.

use super::Check;
use crate::mistake::Severity::Warning;
use crate::plan::{Node, NodeKind, Plan, SystemStep};

pub(super) fn check(check: &mut Check<'_>) {
    for node in check.reached() {
        let Some(what) = waits_for(node) else { continue };
        if above(check.plan, node) {
            continue;
        }
        let message = format!("nothing limits how long `{}` may wait for {what}", node.name);
        let help = "add `timeout: { after: { minutes: 5 } }` to it, to a task around it, or to the workflow";
        check.note(Warning, "missing-timeout", node.id, message, help);
    }
}

/// What a task waits for that may never come.
fn waits_for(node: &Node) -> Option<String> {
    match &node.kind {
        NodeKind::Call(call) => match &call.system {
            Some(SystemStep::Workflow { wait: false, .. } | SystemStep::Emit) => None,
            Some(SystemStep::Workflow { workflow, wait: true, .. }) => Some(format!("workflow `{workflow}`")),
            None => Some(format!("step `{}`", call.kind)),
        },
        NodeKind::Listen(listen) => listen.ends().then(|| "an event".to_owned()),
        NodeKind::Do { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Try { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. } => None,
    }
}

/// Whether a node, one around it or the workflow has a timeout.
pub(super) fn above(plan: &Plan, node: &Node) -> bool {
    let mut at = Some(node);
    while let Some(node) = at {
        let limited = match &node.kind {
            // each pass has its limit, and passes are counted
            NodeKind::Try { catch, .. } => catch.retry.as_ref().is_some_and(|r| r.attempt_duration.is_some()),
            NodeKind::Do { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => false,
        };
        if limited || node.timeout.is_some() {
            return true;
        }
        at = node.parent.and_then(|id| plan.get(id));
    }
    plan.timeout.is_some()
}
