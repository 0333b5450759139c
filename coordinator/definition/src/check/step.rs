//! Calls of steps that no worker has.

use super::Check;
use crate::mistake::Severity::Error;
use crate::near::nearest;
use crate::plan::NodeKind;

/// The steps of the language itself: they come with the workers.
const OWN: [&str; 7] = ["http", "llm", "openapi", "mcp", "script", "shell", "emit"];

pub(super) fn check(check: &mut Check<'_>) {
    let Some(known) = &check.options.steps else { return };
    for node in &check.plan.nodes {
        let NodeKind::Call(call) = &node.kind else { continue };
        let kind = call.kind.as_str();
        if call.system.is_some() || known.contains(kind) || OWN.contains(&kind) {
            continue;
        }
        let help = match nearest(kind, known.iter().map(String::as_str).chain(OWN)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a step that a worker registers, or add it to the list of known steps".into(),
        };
        check.note_at(Error, "unknown-step", node, "/call", format!("there is no step `{kind}`"), help);
    }
}
