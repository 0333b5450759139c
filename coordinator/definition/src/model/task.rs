//! Tasks.

use super::call::Http;
use super::emit::Emit;
use super::event::Listen;
use super::mcp::Mcp;
use super::openapi::OpenApi;
use super::policy::{ErrorModel, ErrorRef, Flow, RetryRef, TimeoutRef, duration, error_fields};
use super::process::Process;
use super::reader::{Fields, Reader, Text};
use super::run_workflow::RunWorkflow;
use crate::near::nearest;
use crate::tree::{Kind, Span, Tree};

/// One task.
pub(crate) struct Task<'t> {
    pub(crate) name: Text,
    pub(crate) tree: &'t Tree,
    pub(crate) condition: Option<Text>,
    pub(crate) flow: Flow<'t>,
    pub(crate) timeout: Option<TimeoutRef<'t>>,
    pub(crate) then: Option<Text>,
    pub(crate) metadata: Option<&'t Tree>,
    /// None where a mistake was noted.
    pub(crate) kind: Option<TaskKind<'t>>,
}

/// What it does.
pub(crate) enum TaskKind<'t> {
    Do(Vec<Task<'t>>),
    Set(&'t Tree),
    Switch(Vec<Case>),
    For(For<'t>),
    Fork {
        branches: Vec<Task<'t>>,
        compete: bool,
    },
    Try {
        body: Vec<Task<'t>>,
        catch: Box<Catch<'t>>,
    },
    Raise(ErrorRef<'t>),
    Wait(&'t Tree),
    Call {
        name: Text,
        with: Option<With<'t>>,
    },
    /// `run: script` and `run: shell`.
    Process(Box<Process<'t>>),
    /// `run: workflow`.
    RunWorkflow(Box<RunWorkflow<'t>>),
    Listen(Box<Listen<'t>>),
    Emit(Box<Emit<'t>>),
}

/// `with` of a call.
pub(crate) enum With<'t> {
    Http(Box<Http<'t>>),
    OpenApi(Box<OpenApi<'t>>),
    Mcp(Box<Mcp<'t>>),
    Plain(&'t Tree),
}

pub(crate) struct Case {
    pub(crate) name: Text,
    pub(crate) when: Option<Text>,
    pub(crate) then: Option<Text>,
}

pub(crate) struct For<'t> {
    pub(crate) each: Option<Text>,
    pub(crate) at: Option<Text>,
    pub(crate) items: Option<&'t Tree>,
    pub(crate) while_: Option<Text>,
    pub(crate) body: Vec<Task<'t>>,
}

pub(crate) struct Catch<'t> {
    pub(crate) with: Vec<(&'static str, &'t Tree)>,
    pub(crate) as_: Option<Text>,
    pub(crate) when: Option<Text>,
    pub(crate) except_when: Option<Text>,
    pub(crate) retry: Option<RetryRef<'t>>,
    pub(crate) body: Option<Vec<Task<'t>>>,
    pub(crate) then: Option<Text>,
}

/// The keys that say what a task does.
const KINDS: [&str; 12] =
    ["call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait"];
/// Calls of ours that cannot be used yet.
const OWN_CALLS_LATER: [&str; 4] = ["agent", "approve", "gate", "ladder"];

/// The tasks of a list.
pub(crate) fn tasks<'t>(reader: &Reader<'_>, tree: &'t Tree, what: &str) -> Vec<Task<'t>> {
    let items = reader.list(tree, what).unwrap_or_default();
    let named = items.iter().filter_map(|item| reader.single(item, "a task"));
    let mut tasks: Vec<Task<'t>> = Vec::new();
    for entry in named {
        let name = Text { text: entry.key.clone(), span: entry.key_span, at: entry.value.at.clone() };
        if tasks.iter().any(|t| t.name.text == name.text) {
            let message = format!("there are two tasks `{}` in this list", name.text);
            reader.error("duplicate-task", name.span, &name.at, message, "give each task of a list a name of its own");
        }
        tasks.extend(Task::read(reader, name, &entry.value));
    }
    tasks
}

impl<'t> Task<'t> {
    pub(crate) fn read(reader: &Reader<'_>, name: Text, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "a task")?;
        let condition = fields.take("if").and_then(|t| reader.text(t, "`if`"));
        let flow = Flow::read(reader, &mut fields, true);
        let timeout = fields.take("timeout").and_then(|t| TimeoutRef::read(reader, t));
        let then = fields.take("then").and_then(|t| reader.text(t, "`then`"));
        let metadata = fields.take("metadata").filter(|t| reader.object(t, "`metadata`").is_some());
        let kind = match which(reader, &fields, &name) {
            None => {
                // what the task does is not known: its other keys cannot be judged
                return Some(Self { name, tree, condition, flow, timeout, then, metadata, kind: None });
            }
            Some(key) => read_kind(reader, &mut fields, key),
        };
        let refused = matches!(kind, Kinds::Refused);
        if !refused {
            fields.finish(reader);
        }
        Some(Self { name, tree, condition, flow, timeout, then, metadata, kind: kind.done() })
    }
}

/// How reading a kind ended.
pub(crate) enum Kinds<'t> {
    Read(Option<TaskKind<'t>>),
    /// Not supported, and said so.
    Refused,
}

impl<'t> Kinds<'t> {
    fn done(self) -> Option<TaskKind<'t>> {
        match self {
            Self::Read(kind) => kind,
            Self::Refused => None,
        }
    }
}

/// The key that says what the task does.
fn which(reader: &Reader<'_>, fields: &Fields<'_>, name: &Text) -> Option<&'static str> {
    let mut given: Vec<(&'static str, Span)> =
        KINDS.iter().filter_map(|k| fields.entries.iter().find(|e| &*e.key == *k).map(|e| (*k, e.key_span))).collect();
    if given.iter().any(|g| g.0 == "for") {
        // `do` belongs to `for`
        given.retain(|g| g.0 != "do");
    }
    match given.as_slice() {
        [(one, _)] => Some(one),
        [] => {
            let near = fields.entries.iter().find_map(|e| Some((e, nearest(&e.key, KINDS)?)));
            match near {
                Some((entry, kind)) => {
                    let message = format!("a task has no key `{}`", entry.key);
                    reader.error(
                        "unknown-key",
                        entry.key_span,
                        &entry.value.at,
                        message,
                        format!("did you mean `{kind}`?"),
                    );
                }
                None => {
                    let message = format!("task `{}` does not say what to do", name.text);
                    let help = format!("give it one of {}", KINDS.join(", "));
                    reader.error("no-kind", name.span, &name.at, message, help);
                }
            }
            None
        }
        [first, second, ..] => {
            let message = format!("task `{}` has both `{}` and `{}`", name.text, first.0, second.0);
            reader.error(
                "two-in-one",
                second.1,
                &name.at,
                message,
                "make two tasks of it, each with a name of its own",
            );
            None
        }
    }
}

fn read_kind<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, key: &'static str) -> Kinds<'t> {
    let Some(tree) = fields.take(key) else { return Kinds::Read(None) };
    Kinds::Read(match key {
        "do" => Some(TaskKind::Do(tasks(reader, tree, "`do`"))),
        "set" => set(reader, tree),
        "switch" => switch(reader, tree),
        "for" => for_(reader, fields, tree),
        "fork" => fork(reader, tree),
        "try" => try_(reader, fields, tree),
        "raise" => raise(reader, tree),
        "wait" => duration(reader, tree, "`wait`").then_some(TaskKind::Wait(tree)),
        "call" => return call(reader, fields, tree),
        "listen" => Listen::read(reader, fields, tree).map(|l| TaskKind::Listen(Box::new(l))),
        "emit" => Emit::read(reader, fields, tree).map(|e| TaskKind::Emit(Box::new(e))),
        "run" => return super::run::run(reader, tree),
        _ => None,
    })
}

fn set<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let wrong = match &tree.kind {
        Kind::Text(_) => return Some(TaskKind::Set(tree)),
        Kind::Map(entries) if !entries.is_empty() => return Some(TaskKind::Set(tree)),
        Kind::Map(_) => "`set` is empty".to_owned(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
            format!("`set` must be an object or an expression, not {}", tree.noun())
        }
    };
    reader.error("wrong-type", tree.span, &tree.at, wrong, "write `name: value` lines, or an expression `${ … }`");
    None
}

fn switch<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let items = reader.list(tree, "`switch`")?;
    if items.is_empty() {
        let help = "add a case: `- name: { when: …, then: … }`";
        reader.error("no-cases", tree.span, &tree.at, "`switch` has no cases", help);
        return None;
    }
    let mut cases: Vec<Case> = Vec::new();
    for entry in items.iter().filter_map(|item| reader.single(item, "a case")) {
        let Some(mut fields) = reader.object(&entry.value, "a case") else { continue };
        let name = Text { text: entry.key.clone(), span: entry.key_span, at: entry.value.at.clone() };
        let when = fields.take("when").and_then(|t| reader.text(t, "`when`"));
        let has_when = entry.value.get("when").is_some();
        let then = fields.need("then").and_then(|t| reader.text(t, "`then`"));
        fields.finish(reader);
        if cases.last().is_some_and(|c| c.when.is_none()) && !cases.is_empty() {
            let message = format!("the case `{}` is never looked at: the one before it has no `when`", name.text);
            reader.warn("unreachable", name.span, &name.at, message, "put the case without `when` last");
        }
        if !has_when || when.is_some() {
            cases.push(Case { name, when, then });
        }
    }
    Some(TaskKind::Switch(cases))
}

fn for_<'t>(reader: &Reader<'_>, task: &mut Fields<'t>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let while_ = task.take("while").and_then(|t| reader.text(t, "`while`"));
    let body = task.need("do").map(|t| tasks(reader, t, "`do`")).unwrap_or_default();
    let mut fields = reader.object(tree, "`for`")?;
    let each = fields.take("each").and_then(|t| variable(reader, t, "`each`"));
    let at = fields.take("at").and_then(|t| variable(reader, t, "`at`"));
    let items = fields.need("in").filter(|t| match &t.kind {
        Kind::Text(_) => true,
        Kind::List(items) => items.iter().all(|item| match item.kind {
            Kind::Map(_) => true,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                let message = format!("an item of an inline list must be an object, not {}", item.noun());
                reader.error(
                    "wrong-type",
                    item.span,
                    &item.at,
                    message,
                    "write the list as an expression: `${ [1, 2, 3] }`",
                );
                false
            }
        }),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Map(_) => {
            let message = format!("`in` must be an expression or a list, not {}", t.noun());
            reader.error("wrong-type", t.span, &t.at, message, "write where the items are, for instance `.items`");
            false
        }
    });
    fields.finish(reader);
    Some(TaskKind::For(For { each, at, items, while_, body }))
}

/// The name of a variable.
pub(super) fn variable(reader: &Reader<'_>, tree: &Tree, what: &str) -> Option<Text> {
    let text = reader.text(tree, what)?;
    let fine = text.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fine {
        let message = format!("{what} must be the name of a variable, not `{}`", text.text);
        reader.error("variable-name", text.span, &text.at, message, "use letters, digits and `_`, without `$`");
    }
    fine.then_some(text)
}

fn fork<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let mut fields = reader.object(tree, "`fork`")?;
    let branches = fields.need("branches").map(|t| tasks(reader, t, "`branches`")).unwrap_or_default();
    let compete = fields.take("compete").and_then(|t| reader.boolean(t, "`compete`")).unwrap_or(false);
    fields.finish(reader);
    Some(TaskKind::Fork { branches, compete })
}

fn try_<'t>(reader: &Reader<'_>, task: &mut Fields<'t>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let body = tasks(reader, tree, "`try`");
    let mut fields = task.need("catch").and_then(|t| reader.object(t, "`catch`"))?;
    let mut with = Vec::new();
    if let Some(mut errors) = fields.take("errors").and_then(|t| reader.object(t, "`errors`")) {
        if let Some(mut filter) = errors.take("with").and_then(|t| reader.object(t, "`errors.with`")) {
            if filter.entries.is_empty() {
                let help = "name a field of the errors to catch, for instance `status: 503`, or remove `errors`";
                reader.error("missing-key", filter.tree.span, &filter.tree.at, "`errors.with` is empty", help);
            }
            with = error_fields(reader, &mut filter);
            filter.finish(reader);
        }
        errors.finish(reader);
    }
    let catch = Catch {
        with,
        as_: fields.take("as").and_then(|t| variable(reader, t, "`as`")),
        when: fields.take("when").and_then(|t| reader.text(t, "`when`")),
        except_when: fields.take("exceptWhen").and_then(|t| reader.text(t, "`exceptWhen`")),
        retry: fields.take("retry").and_then(|t| RetryRef::read(reader, t)),
        body: fields.take("do").map(|t| tasks(reader, t, "`do`")),
        then: fields.take("then").and_then(|t| reader.text(t, "`then`")),
    };
    fields.finish(reader);
    Some(TaskKind::Try { body, catch: Box::new(catch) })
}

fn raise<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<TaskKind<'t>> {
    let mut fields = reader.object(tree, "`raise`")?;
    let error = fields.need("error");
    fields.finish(reader);
    let error = error?;
    let error = match error.kind {
        Kind::Text(_) => ErrorRef::Named(reader.text(error, "`error`")?),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
            ErrorRef::Inline(ErrorModel::read(reader, error)?)
        }
    };
    Some(TaskKind::Raise(error))
}

fn call<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, tree: &'t Tree) -> Kinds<'t> {
    let Some(name) = reader.text(tree, "`call`") else {
        fields.take("with");
        return Kinds::Read(None);
    };
    if let Some(what) = super::refuse::call(&name.text) {
        reader.left_out(what, name.span, &name.at);
        return Kinds::Refused;
    }
    if OWN_CALLS_LATER.contains(&&*name.text) {
        reader.unsupported(&format!("`call: {}`", name.text), name.span, &name.at);
        return Kinds::Refused;
    }
    let with = match &*name.text {
        "http" => fields.need("with").and_then(|t| Http::read(reader, t)).map(|h| With::Http(Box::new(h))),
        "openapi" => fields.need("with").and_then(|t| OpenApi::read(reader, t)).map(|o| With::OpenApi(Box::new(o))),
        "mcp" => fields.need("with").and_then(|t| Mcp::read(reader, t)).map(|m| With::Mcp(Box::new(m))),
        _ => fields.take("with").filter(|t| reader.object(t, "`with`").is_some()).map(With::Plain),
    };
    Kinds::Read(Some(TaskKind::Call { name, with }))
}
