//! `run: workflow`.

use super::reader::{Reader, Text};
use super::run::Ending;
use super::semantic;
use crate::tree::Tree;

/// The word for the newest version.
const LATEST: &str = "latest";

/// A workflow to run.
pub(crate) struct RunWorkflow<'t> {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
    /// None: the newest one.
    pub(crate) version: Option<Text>,
    pub(crate) input: Option<&'t Tree>,
    pub(crate) wait: bool,
    pub(crate) give_output: bool,
}

impl<'t> RunWorkflow<'t> {
    /// Reads the value of `workflow`.
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree, ending: Ending<'t>) -> Option<Self> {
        let give_output = ending.returns.is_none_or(|t| gives_output(reader, t));
        let mut fields = reader.object(tree, "`workflow`")?;
        let mut text = |key: &'static str| fields.need(key).and_then(|t| reader.text(t, &format!("`{key}`")));
        let (namespace, name, version) = (text("namespace"), text("name"), text("version"));
        let input = fields.take("input").filter(|t| reader.object(t, "`input`").is_some());
        fields.finish(reader);
        let version = version.filter(|t| &*t.text != LATEST);
        let fine = version.as_ref().is_none_or(|t| semantic(reader, t, "`version`"));
        let (namespace, name) = (namespace?, name?);
        fine.then_some(Self { namespace, name, version, input, wait: ending.awaited, give_output })
    }
}

/// Whether the workflow's output is wanted. A workflow has no streams and no exit code.
fn gives_output(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Some(text) = reader.text(tree, "`return`") else { return true };
    match &*text.text {
        "stdout" => true,
        "none" => false,
        other => {
            let message = format!("a workflow cannot return `{other}`");
            let help = "use `none`, or remove it: the workflow's output is the task's";
            reader.error("wrong-value", text.span, &text.at, message, help);
            true
        }
    }
}
