//! What is defined under `use` and used by nobody is checked all the same, so that its mistakes are seen.

use std::sync::Arc;

use super::Compiler;
use super::flow::Targets;

impl<'a, 't> Compiler<'a, 't> {
    /// Compiles every reusable part once and drops the result.
    pub(super) fn check_unused(&mut self) {
        let uses = self.uses;
        for retry in uses.retries.values().flatten() {
            // a policy may be used where the error has any name: only the usual one is known here
            let has_expression = retry.when.is_some() || retry.except_when.is_some();
            if !has_expression {
                self.retry_model(retry);
            }
        }
        for error in uses.errors.values().flatten() {
            if !error.fields.iter().any(|(_, t)| super::value_has_expression(t)) {
                self.error_model(error);
            }
        }
        for after in uses.timeouts.values().flatten() {
            self.duration(after);
        }
        for authentication in uses.authentications.values().flatten() {
            self.authentication(authentication);
        }
        self.check_extensions();
        for (name, function) in &uses.functions {
            let Some(task) = function else { continue };
            let before = self.nodes.len();
            self.functions.push(name);
            if let Some(id) = self.reserve(&task.name.at, task.name.span) {
                let path = format!("/use/functions/{}", crate::tree::escape(name));
                self.with_functions_scope(|c| c.task(task, id, None, &path, &Targets::none()));
            }
            self.functions.pop();
            self.nodes.truncate(before);
            self.compensations.retain(|task, _| (task.0 as usize) < before);
        }
    }

    /// Runs `f` with the variables of no enclosing task: a function sees only its input.
    pub(super) fn with_functions_scope<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer: Vec<Arc<str>> = std::mem::take(&mut self.scope);
        let out = f(self);
        self.scope = outer;
        out
    }
}
