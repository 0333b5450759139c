//! What is written on a task: its name, and in one line what it does.

use serde_json::Value;
use stepmill_protocol::Millis;

use crate::plan::{Catch, DurationSpec, Join, Node, NodeKind, SystemStep};

/// Characters of a line that are shown.
const CHARS_MAX: usize = 44;

/// Cuts a text to what fits on a picture.
pub(super) fn cut(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars {
        return line;
    }
    let mut out: String = line.chars().take(chars.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// The name of a task.
pub(super) fn name(node: &Node) -> String {
    cut(&node.name, CHARS_MAX)
}

/// What a task does.
pub(super) fn what(node: &Node) -> String {
    let text = match &node.kind {
        NodeKind::Do { .. } => String::new(),
        NodeKind::Set { .. } => set(node),
        NodeKind::Switch { .. } => "switch".into(),
        NodeKind::For { each, concurrency, while_, join, .. } => {
            let list = node.definition.pointer("/for/in").map(plain).unwrap_or_default();
            let mut text = format!("for each ${each} in {}", cut(&list, 24));
            if let Some(condition) = while_ {
                text += &format!(", while {}", condition.source.trim());
            }
            if let Some(n) = concurrency {
                text += &format!(", {n} at a time{}", joined(*join));
            }
            text
        }
        NodeKind::Fork { join, .. } => format!("fork{}", joined(*join)),
        NodeKind::Try { catch, .. } => tries(catch),
        NodeKind::Raise { .. } => {
            let error = node
                .definition
                .pointer("/raise/error")
                .map(|e| e.get("title").or(e.get("type")).unwrap_or(e))
                .map(plain);
            format!("raise {}", error.unwrap_or_default())
        }
        NodeKind::Wait { duration } => format!("wait {}", length(duration, node.definition.get("wait"))),
        NodeKind::Listen(listen) => match listen.events.filters.first().and_then(|f| f.kind.as_ref()) {
            Some(kind) if listen.events.own == 1 => format!("listen for {kind}"),
            Some(_) | None => "listen".into(),
        },
        NodeKind::Scope { .. } => format!("function {}", node.definition.get("call").map(plain).unwrap_or_default()),
        NodeKind::Call(call) => match (&call.system, endpoint(node)) {
            (Some(SystemStep::Workflow { workflow, .. }), _) => format!("run workflow {workflow}"),
            (Some(SystemStep::Emit), _) => emitted(node),
            (None, _) if call.emits => emitted(node),
            (None, _) if node.definition.get("run").is_some() => format!("run {}", call.kind),
            (None, Some(to)) => format!("call {}: {to}", call.kind),
            (None, None) => format!("call {}", call.kind),
        },
    };
    cut(&text, CHARS_MAX)
}

fn emitted(node: &Node) -> String {
    let kind = node.definition.pointer("/emit/event/with/type").map(plain);
    format!("emit {}", kind.unwrap_or_default())
}

/// The condition of a task, where it has one.
pub(super) fn condition(node: &Node) -> Option<String> {
    node.condition.as_ref().map(|c| cut(&format!("if {}", c.source.trim()), CHARS_MAX))
}

/// When branches side by side are done.
fn joined(join: Join) -> String {
    match join {
        Join::All => String::new(),
        Join::Settled => ": errors are kept".into(),
        Join::First => ": the first counts".into(),
        Join::Any => ": the first success counts".into(),
        Join::Count(n) => format!(": {n} must succeed"),
    }
}

fn tries(catch: &Catch) -> String {
    match catch.retry.as_ref().map(|retry| retry.attempts_max) {
        None => "try".into(),
        Some(None) => "try again and again".into(),
        Some(Some(n)) => format!("try, {n} times at most"),
    }
}

/// What is caught.
pub(super) fn caught(catch: &Catch) -> String {
    let fields: Vec<&str> = catch.with.iter().map(|(key, _)| &**key).collect();
    let mut text = if fields.is_empty() { "catch".to_owned() } else { format!("catch by {}", fields.join(", ")) };
    if let Some(when) = &catch.when {
        text += &format!(" when {}", when.source.trim());
    }
    cut(&text, CHARS_MAX)
}

fn set(node: &Node) -> String {
    match node.definition.get("set") {
        Some(Value::Object(fields)) => format!("set {}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
        Some(other) => format!("set {}", plain(other)),
        None => "set".into(),
    }
}

fn endpoint(node: &Node) -> Option<String> {
    let with = node.definition.get("with")?;
    let endpoint = with.get("endpoint")?;
    let uri = plain(endpoint.get("uri").unwrap_or(endpoint));
    let method = with.get("method").map(plain).unwrap_or_default();
    Some(format!("{} {uri}", method.to_uppercase()).trim().to_owned())
}

/// A value as people read it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => {
            crate::model::expression_inside(text).map_or_else(|| text.clone(), |inside| inside.trim().to_owned())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn length(duration: &DurationSpec, written: Option<&Value>) -> String {
    match duration {
        DurationSpec::Const(Millis(ms)) => {
            let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
            let mut rest = *ms;
            let mut parts = Vec::new();
            for (size, unit) in units {
                if rest >= size {
                    parts.push(format!("{} {unit}", rest / size));
                    rest %= size;
                }
            }
            if parts.is_empty() { "0 s".into() } else { parts.join(" ") }
        }
        DurationSpec::Template(_) => written.map(plain).unwrap_or_default(),
    }
}
