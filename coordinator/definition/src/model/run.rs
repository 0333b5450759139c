//! `run`: what is run, one line per kind; each kind has a file of its own.

use super::reader::Reader;
use super::refuse;
use super::task::Kinds;
use crate::tree::{Span, Tree};

/// The keys that say what is run.
const KINDS: [&str; 4] = ["container", "script", "shell", "workflow"];

/// Reads `run`.
pub(crate) fn run<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Kinds<'t> {
    let Some(fields) = reader.object(tree, "`run`") else { return Kinds::Read(None) };
    let given: Vec<(&'static str, Span, &'t Tree)> = KINDS
        .iter()
        .filter_map(|kind| fields.entries.iter().find(|e| &*e.key == *kind).map(|e| (*kind, e.key_span, &e.value)))
        .collect();
    match given.as_slice() {
        [(kind, span, what)] => one(reader, kind, *span, what),
        [] => {
            let help = format!("give it one of {}", KINDS.join(", "));
            reader.error("no-kind", tree.span, &tree.at, "`run` does not say what to run", help);
            Kinds::Read(None)
        }
        [first, second, ..] => {
            let message = format!("`run` has both `{}` and `{}`", first.0, second.0);
            reader.error("two-in-one", second.1, &second.2.at, message, "make two tasks of it");
            Kinds::Read(None)
        }
    }
}

fn one<'t>(reader: &Reader<'_>, kind: &'static str, span: Span, what: &'t Tree) -> Kinds<'t> {
    match kind {
        "container" => reader.left_out(&refuse::CONTAINER, span, &what.at),
        other => reader.unsupported(&format!("`run: {other}`"), span, &what.at),
    }
    Kinds::Refused
}
