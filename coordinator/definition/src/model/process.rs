//! The arguments of `run: script` and `run: shell`.

use super::authentication::text_list;
use super::endpoint::{Endpoint, resource};
use super::reader::{Fields, Reader};
use super::run::Ending;
use crate::tree::{Kind, Tree};

/// A process that a worker starts.
pub(crate) struct Process<'t> {
    /// `script` or `shell`.
    pub(crate) kind: &'static str,
    /// The script's code or the command.
    pub(crate) code: Code<'t>,
    /// Handed to the worker as they are: language, stdin, arguments, environment.
    pub(crate) rest: Vec<(&'static str, &'t Tree)>,
    pub(crate) ending: Ending<'t>,
}

/// Where the code is.
pub(crate) enum Code<'t> {
    Inline(&'static str, &'t Tree),
    Source(Endpoint<'t>),
}

/// The languages of the standard.
const LANGUAGES: [&str; 2] = ["js", "python"];

impl<'t> Process<'t> {
    pub(crate) fn script(reader: &Reader<'_>, tree: &'t Tree, ending: Ending<'t>) -> Option<Self> {
        let mut fields = reader.object(tree, "`script`")?;
        let mut rest = Vec::new();
        if let Some(language) = fields.need("language").filter(|t| is_language(reader, t)) {
            rest.push(("language", language));
        }
        let code = match (fields.take("code"), fields.take("source")) {
            (Some(code), None) => reader.text(code, "`code`").map(|_| Code::Inline("code", code)),
            (None, Some(source)) => resource(reader, source, "`source`").map(Code::Source),
            (Some(_), Some(second)) => {
                let message = "`script` has both `code` and `source`";
                reader.error("two-in-one", second.span, &second.at, message, "remove one of them");
                None
            }
            (None, None) => {
                let help = "add `code:` with the script, or `source:` with the endpoint that gives it";
                reader.error("missing-key", tree.span, &tree.at, "`script` needs `code` or `source`", help);
                None
            }
        };
        let fine = common(reader, &mut fields, &mut rest);
        fields.finish(reader);
        fine.then_some(Self { kind: "script", code: code?, rest, ending })
    }

    pub(crate) fn shell(reader: &Reader<'_>, tree: &'t Tree, ending: Ending<'t>) -> Option<Self> {
        let mut fields = reader.object(tree, "`shell`")?;
        let mut rest = Vec::new();
        let command = fields.need("command").filter(|t| reader.text(t, "`command`").is_some());
        let fine = common(reader, &mut fields, &mut rest);
        fields.finish(reader);
        fine.then_some(Self { kind: "shell", code: Code::Inline("command", command?), rest, ending })
    }
}

fn is_language(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Some(text) = reader.text(tree, "`language`") else { return false };
    let fine = LANGUAGES.contains(&&*text.text);
    if !fine {
        let message = format!("not supported: scripts in `{}`", text.text);
        let help = "use js or python, or `run: shell` with an interpreter that the workers have";
        reader.error("unsupported", text.span, &text.at, message, help);
    }
    fine
}

/// What scripts and commands have in common.
fn common<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, rest: &mut Vec<(&'static str, &'t Tree)>) -> bool {
    let mut fine = true;
    if let Some(stdin) = fields.take("stdin") {
        fine &= reader.text(stdin, "`stdin`").is_some();
        rest.push(("stdin", stdin));
    }
    if let Some(arguments) = fields.take("arguments") {
        fine &= text_list(reader, arguments, "arguments");
        rest.push(("arguments", arguments));
    }
    if let Some(environment) = fields.take("environment") {
        fine &= reader.object(environment, "`environment`").is_some() && variables(reader, environment);
        rest.push(("environment", environment));
    }
    fine
}

/// Refuses names that no environment variable can have.
fn variables(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Kind::Map(entries) = &tree.kind else { return false };
    let wrong: Vec<_> = entries.iter().filter(|e| e.key.is_empty() || e.key.contains(['=', '\0'])).collect();
    for entry in &wrong {
        let message = format!("`{}` cannot be the name of an environment variable", entry.key);
        reader.error("variable-name", entry.key_span, &entry.value.at, message, "use letters, digits and `_`");
    }
    wrong.is_empty()
}
