//! `run`: what is run, one line per kind; each kind has a file of its own.

use super::authentication::one_of;
use super::process::Process;
use super::reader::Reader;
use super::refuse;
use super::run_workflow::RunWorkflow;
use super::task::{Kinds, TaskKind};
use crate::tree::{Span, Tree};

/// The keys that say what is run.
const KINDS: [&str; 4] = ["container", "script", "shell", "workflow"];
/// What a process may give back.
const RETURNS: [&str; 5] = ["stdout", "stderr", "code", "all", "none"];

/// How what is run ends: `await` and `return`.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'t> {
    /// Whether its end is waited for; true unless said.
    pub(crate) awaited: bool,
    /// What it gives back.
    pub(crate) returns: Option<&'t Tree>,
}

/// Reads `run`.
pub(crate) fn run<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Kinds<'t> {
    let Some(mut fields) = reader.object(tree, "`run`") else { return Kinds::Read(None) };
    let ending = Ending {
        awaited: fields.take("await").and_then(|t| reader.boolean(t, "`await`")).unwrap_or(true),
        returns: fields.take("return").filter(|t| one_of(reader, t, "return", &RETURNS)),
    };
    let given: Vec<(&'static str, Span, &'t Tree)> =
        KINDS.iter().filter_map(|kind| fields.entry(kind).map(|e| (*kind, e.key_span, &e.value))).collect();
    fields.finish(reader);
    match given.as_slice() {
        [(kind, span, what)] => one(reader, kind, *span, what, ending),
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

fn one<'t>(reader: &Reader<'_>, kind: &'static str, span: Span, what: &'t Tree, ending: Ending<'t>) -> Kinds<'t> {
    let process = |process: Option<Process<'t>>| Kinds::Read(process.map(|p| TaskKind::Process(Box::new(p))));
    match kind {
        "script" => return process(Process::script(reader, what, ending)),
        "shell" => return process(Process::shell(reader, what, ending)),
        "workflow" => {
            let model = RunWorkflow::read(reader, what, ending);
            return Kinds::Read(model.map(|model| TaskKind::RunWorkflow(Box::new(model))));
        }
        "container" => reader.left_out(&refuse::CONTAINER, span, &what.at),
        other => reader.unsupported(&format!("`run: {other}`"), span, &what.at),
    }
    Kinds::Refused
}
