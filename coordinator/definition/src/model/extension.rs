//! `use.extensions`: tasks around other tasks.

use super::reader::{Reader, Text};
use super::task::{Task, TaskKind, tasks};
use crate::near::nearest;
use crate::tree::Tree;

/// What can be extended.
const KINDS: [&str; 12] =
    ["call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", ALL];
const ALL: &str = "all";

/// One extension.
pub(crate) struct Extension<'t> {
    pub(crate) name: Text,
    extend: Text,
    pub(crate) when: Option<Text>,
    pub(crate) before: Vec<Task<'t>>,
    pub(crate) after: Vec<Task<'t>>,
}

impl<'t> Extension<'t> {
    /// Those of a list; one with mistakes stays in it as none, so that the others keep their numbers.
    pub(crate) fn list(reader: &Reader<'_>, tree: &'t Tree) -> Vec<Option<Self>> {
        let items = reader.list(tree, "`extensions`").unwrap_or_default();
        items.iter().map(|item| Self::read(reader, item)).collect()
    }

    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let entry = reader.single(tree, "an extension")?;
        let name = Text { text: entry.key.clone(), span: entry.key_span, at: entry.value.at.clone() };
        let mut fields = reader.object(&entry.value, "an extension")?;
        let extend = fields.need("extend").and_then(|t| reader.text(t, "`extend`")).filter(|t| kind(reader, t));
        let when = fields.take("when").map(|t| reader.text(t, "`when`"));
        let before = fields.take("before").map(|t| tasks(reader, t, "`before`")).unwrap_or_default();
        let after = fields.take("after").map(|t| tasks(reader, t, "`after`")).unwrap_or_default();
        fields.finish(reader);
        let when = match when {
            Some(when) => Some(when?),
            None => None,
        };
        Some(Self { name, extend: extend?, when, before, after })
    }

    /// Whether it is for tasks of this kind.
    pub(crate) fn is_for(&self, task: &TaskKind<'_>) -> bool {
        let kind = match task {
            TaskKind::Do(_) | TaskKind::Fork { .. } => "composite",
            TaskKind::Set(_) => "set",
            TaskKind::Switch(_) => "switch",
            TaskKind::For(_) => "for",
            TaskKind::Try { .. } => "try",
            TaskKind::Raise(_) => "raise",
            TaskKind::Wait(_) => "wait",
            TaskKind::Call { .. } => "call",
            TaskKind::Process(_) | TaskKind::RunWorkflow(_) => "run",
            TaskKind::Listen(_) => "listen",
            TaskKind::Emit(_) => "emit",
        };
        [kind, ALL].contains(&&*self.extend.text)
    }
}

fn kind(reader: &Reader<'_>, text: &Text) -> bool {
    let fine = KINDS.contains(&&*text.text);
    if !fine {
        let help = match nearest(&text.text, KINDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", KINDS.join(", ")),
        };
        let message = format!("there are no tasks of the kind `{}`", text.text);
        reader.error("wrong-value", text.span, &text.at, message, help);
    }
    fine
}
