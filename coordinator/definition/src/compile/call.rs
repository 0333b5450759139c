//! Calls: steps of workers, and functions of the definition itself.

use stepmill_protocol::limit::TOKENS_MAX;
use stepmill_protocol::{PoolName, Priority, StepKind};

use super::Compiler;
use super::flow::Targets;
use super::policy::all;
use crate::expression::Expression;
use crate::model::reader::Text;
use crate::model::refuse::CATALOG_FUNCTION;
use crate::model::task::{Task, TaskKind, With};
use crate::near::nearest;
use crate::plan::{Call, NodeId, NodeKind, Template};
use crate::tree::{Kind, Tree, escape};

/// Calls of the standard, which no function of a definition can stand for.
const STANDARD_CALLS: [&str; 3] = ["http", "mcp", "openapi"];

/// What `metadata` says to us.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) pool: Option<PoolName>,
    pub(super) priority: Priority,
    pub(super) concurrency: Option<u32>,
}

/// The keys of `metadata` that mean something here, later issues included.
const HINTS: [&str; 9] =
    ["pool", "priority", "concurrency", "cache", "compensate", "budget", "join", "onFailure", "endpoint"];

impl<'a, 't> Compiler<'a, 't> {
    /// Reads the hints of a task; keys of other people are left alone.
    pub(super) fn hints(&mut self, task: &Task<'t>) -> Option<Hints> {
        let is_call = matches!(task.kind, Some(TaskKind::Call { .. } | TaskKind::Process(_)));
        let is_emit = matches!(task.kind, Some(TaskKind::Emit(_)));
        let is_sent = is_call || matches!(&task.kind, Some(TaskKind::Emit(emit)) if emit.endpoint.is_some());
        let is_for = matches!(task.kind, Some(TaskKind::For(_)));
        let is_fork = matches!(task.kind, Some(TaskKind::Fork { .. }));
        let mut hints = Hints::default();
        let Some(Tree { kind: Kind::Map(entries), .. }) = task.metadata else { return Some(hints) };
        let mut fine = true;
        for entry in entries {
            let tree = &entry.value;
            match &*entry.key {
                "pool" if is_sent => {
                    hints.pool = self.pool(tree);
                    fine &= hints.pool.is_some();
                }
                "priority" if is_sent => match self.priority(tree) {
                    Some(priority) => hints.priority = priority,
                    None => fine = false,
                },
                "concurrency" if is_for => {
                    hints.concurrency = self.concurrency(tree);
                    fine &= hints.concurrency.is_some();
                }
                // read by `compensate`, once the task has its number
                "compensate" if is_call => {}
                // read by `join`, with the branches at hand
                "join" | "onFailure" if is_for || is_fork => {}
                // read with the task itself
                "endpoint" if is_emit => {}
                "budget" => fine &= self.budget(tree),
                "pool" | "priority" | "concurrency" | "join" | "onFailure" | "compensate" | "endpoint" => {
                    let owner = match &*entry.key {
                        "concurrency" => "for",
                        "join" | "onFailure" => "fork",
                        "endpoint" => "emit",
                        _ => "call",
                    };
                    let message = format!("`{}` has no effect here", entry.key);
                    let help = format!("put it on a task with `{owner}`");
                    self.reader.warn("no-effect", entry.key_span, &tree.at, message, help);
                }
                other => {
                    if let Some(near) = nearest(other, HINTS).filter(|n| *n != other) {
                        let message = format!("the hint `{other}` is not known and has no effect");
                        let help = format!("did you mean `{near}`?");
                        self.reader.warn("no-effect", entry.key_span, &tree.at, message, help);
                    }
                }
            }
        }
        fine.then_some(hints)
    }

    fn pool(&self, tree: &Tree) -> Option<PoolName> {
        let text = self.reader.text(tree, "`pool`")?;
        let pool = PoolName::new(&text.text);
        if let Err(e) = &pool {
            let help = "name a pool of workers, for instance `default`";
            self.reader.error("name", tree.span, &tree.at, e.to_string(), help);
        }
        if pool.as_ref().is_ok_and(PoolName::is_system) {
            let message = format!("the pool `{}` is the system's own", PoolName::SYSTEM);
            self.reader.error("name", tree.span, &tree.at, message, "name a pool of workers, for instance `default`");
            return None;
        }
        pool.ok()
    }

    fn priority(&self, tree: &Tree) -> Option<Priority> {
        let text = self.reader.text(tree, "`priority`")?;
        let found = Priority::ALL.into_iter().find(|p| p.as_str() == &*text.text);
        if found.is_none() {
            let message = format!("`priority` cannot be `{}`", text.text);
            self.reader.error("wrong-value", tree.span, &tree.at, message, "use high, normal or low");
        }
        found
    }

    fn concurrency(&self, tree: &Tree) -> Option<u32> {
        let n = self.reader.integer(tree, "`concurrency`")?;
        let found = u32::try_from(n).ok().filter(|n| (1..=TOKENS_MAX).contains(&(*n as usize)));
        if found.is_none() {
            let message = format!("`concurrency` must be from 1 to {TOKENS_MAX}, not {n}");
            let help = "write how many iterations may run at the same time";
            self.reader.error("wrong-value", tree.span, &tree.at, message, help);
        }
        found
    }

    pub(super) fn call(
        &mut self,
        name: &'a Text,
        with: Option<&'a With<'t>>,
        hints: Hints,
        id: NodeId,
        path: &str,
    ) -> Option<NodeKind> {
        let uses = self.uses;
        let own = STANDARD_CALLS.contains(&&*name.text);
        if let (Some((key, function)), false) = (uses.functions.get_key_value(&*name.text), own) {
            return self.function(name, key, function.as_ref()?, with, id, path);
        }
        if name.text.contains(['@', ':', '/']) {
            self.reader.left_out(&CATALOG_FUNCTION, name.span, &name.at);
            return None;
        }
        let kind = match StepKind::new(&name.text) {
            Ok(kind) => kind,
            Err(e) => {
                let help = "name a step that a worker registers, or a function of `use.functions`";
                self.reader.error("name", name.span, &name.at, e.to_string(), help);
                return None;
            }
        };
        let with = with.map(|w| match w {
            With::Http(http) => self.http(http),
            With::OpenApi(openapi) => self.openapi(openapi),
            With::Mcp(mcp) => self.mcp(mcp),
            With::Plain(tree) => self.template(tree, false),
        });
        if own && with.is_none() {
            // what is missing was said
            return None;
        }
        let own_pool = if &*name.text == "llm" { "llm" } else { "default" };
        Some(NodeKind::Call(Box::new(Call {
            kind,
            with: all(with)?,
            pool: hints.pool.or_else(|| PoolName::new(own_pool).ok())?,
            priority: hints.priority,
            broker_retry: None,
            emits: false,
            system: None,
        })))
    }

    fn function(
        &mut self,
        name: &'a Text,
        key: &'a str,
        task: &'a Task<'t>,
        with: Option<&'a With<'t>>,
        id: NodeId,
        path: &str,
    ) -> Option<NodeKind> {
        if self.functions.contains(&key) {
            let message = format!("function `{key}` calls itself");
            self.reader.error(
                "recursion",
                name.span,
                &name.at,
                message,
                "use `for`, or `then` back to an earlier task",
            );
            return None;
        }
        let with = match with {
            Some(With::Plain(tree)) => self.template(tree, false),
            Some(With::Http(_) | With::OpenApi(_) | With::Mcp(_)) => None,
            None => Expression::compile(".", &[]).ok().map(Template::Expr),
        };
        let body = self.reserve(&name.at, name.span)?;
        let path = format!("{path}/use/functions/{}", escape(key));
        self.functions.push(key);
        let done = self.with_functions_scope(|c| {
            c.deeper(&name.at, name.span, |c| c.task(task, body, Some(id), &path, &Targets::none()))
        });
        self.functions.pop();
        done?;
        Some(NodeKind::Scope { with: with?, body })
    }
}
