//! `metadata.compensate`: the function that undoes a step, woven into tasks that try it again before they fail.

use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::limit::{COMPENSATION_ATTEMPTS_MAX, COMPENSATION_DELAY};
use stepmill_protocol::retry::Backoff;
use stepmill_protocol::{Millis, StepPath};

use super::Compiler;
use super::flow::Targets;
use crate::expression::Expression;
use crate::model::reader::Text;
use crate::model::task::Task;
use crate::near::nearest;
use crate::plan::{Catch, DataFlow, DurationSpec, Next, Node, NodeId, NodeKind, Retry, Template};
use crate::tree::escape;

impl<'a, 't> Compiler<'a, 't> {
    /// Compiles what undoes a task, where it names that. False where there are mistakes.
    pub(super) fn compensate(&mut self, task: &Task<'t>, id: NodeId, path: &str) -> bool {
        let Some(tree) = task.metadata.and_then(|m| m.get("compensate")) else { return true };
        let Some(name) = self.reader.text(tree, "`compensate`") else { return false };
        let uses = self.uses;
        let Some((key, function)) = uses.functions.get_key_value(&*name.text) else {
            let help = match nearest(&name.text, uses.functions.keys().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "define it under `use.functions`; it gets an object with the step's `input` and `output`".into()
                }
            };
            let message = format!("there is no function `{}`", name.text);
            self.reader.error("unknown-reference", name.span, &name.at, message, help);
            return false;
        };
        // What is undone is the work of the run, not the undoing.
        if self.undoing {
            return true;
        }
        let Some(function) = function.as_ref() else { return false };
        self.undoing = true;
        let functions = std::mem::take(&mut self.functions);
        let woven = self.weave(&name, key, function, &format!("{path}/metadata/compensate"));
        self.functions = functions;
        self.undoing = false;
        match woven {
            Some(woven) => {
                self.compensations.insert(id, woven);
                true
            }
            None => false,
        }
    }

    /// `try: [{function: {call}}]`, `catch: {retry, do: [{raise: $error}]}`.
    fn weave(&mut self, name: &Text, key: &'a str, function: &'a Task<'t>, path: &str) -> Option<NodeId> {
        let mut reserve = || self.reserve(&name.at, name.span);
        let (root, list, call, body) = (reserve()?, reserve()?, reserve()?, reserve()?);
        let (handler, raise) = (reserve()?, reserve()?);
        let escaped = escape(key);
        self.functions.push(key);
        let inner = format!("{path}/try/0/{escaped}/use/functions/{escaped}");
        let done = self.with_functions_scope(|c| {
            c.deeper(&name.at, name.span, |c| c.task(function, body, Some(call), &inner, &Targets::none()))
        });
        self.functions.pop();
        done?;
        let retry = Retry {
            when: None,
            except_when: None,
            delay: DurationSpec::Const(COMPENSATION_DELAY),
            backoff: Backoff::Exponential { factor: 2.0 },
            jitter: Some((DurationSpec::Const(Millis(0)), DurationSpec::Const(COMPENSATION_DELAY))),
            attempts_max: Some(COMPENSATION_ATTEMPTS_MAX),
            attempt_duration: None,
            duration_max: None,
        };
        let catch = Catch {
            with: Vec::new(),
            as_: "error".into(),
            when: None,
            except_when: None,
            retry: Some(retry),
            body: Some(handler),
            then: None,
        };
        let error = Template::Expr(Expression::compile("$error", &["error"]).ok()?);
        let with = Template::Expr(Expression::compile(".", &[]).ok()?);
        let name: Arc<str> = key.into();
        let mut put = |id, path: String, parent, kind| {
            self.put(Node {
                id,
                path: StepPath(path.as_str().into()),
                name: Arc::clone(&name),
                parent,
                condition: None,
                flow: DataFlow::default(),
                timeout: None,
                then: Next::Continue,
                kind,
                definition: Value::Null,
                part: self.part(),
            });
        };
        put(root, path.to_owned(), None, NodeKind::Try { body: list, catch: Box::new(catch) });
        put(list, format!("{path}/try"), Some(root), NodeKind::Do { children: vec![call] });
        put(call, format!("{path}/try/0/{escaped}"), Some(list), NodeKind::Scope { with, body });
        put(handler, format!("{path}/catch/do"), Some(root), NodeKind::Do { children: vec![raise] });
        put(raise, format!("{path}/catch/do/0/raise"), Some(handler), NodeKind::Raise { error });
        Some(root)
    }
}
