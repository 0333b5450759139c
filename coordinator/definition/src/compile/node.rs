//! Tasks to nodes.

use std::sync::Arc;

use stepmill_protocol::StepPath;

use super::Compiler;
use super::call::Hints;
use super::flow::{Targets, shared};
use super::policy::{all, broker_policy};
use crate::model::task::{Catch as CatchModel, For, Task, TaskKind};
use crate::plan::{Case, Catch, Next, Node, NodeId, NodeKind};
use crate::tree::escape;

impl<'a, 't> Compiler<'a, 't> {
    /// Compiles a task into the node `id`. None where there are mistakes; all of them are noted by then.
    pub(super) fn task(
        &mut self,
        task: &'a Task<'t>,
        id: NodeId,
        parent: Option<NodeId>,
        path: &str,
        targets: &Targets<'_>,
    ) -> Option<()> {
        let extensions = self.extensions_of(task);
        if !extensions.is_empty() {
            return self.extended(task, id, parent, path, targets, &extensions);
        }
        let condition = task.condition.as_ref().map(|t| self.bare(t));
        let flow = self.flow(&task.flow);
        let timeout = task.timeout.as_ref().map(|t| self.timeout(t));
        let then = self.next(task.then.as_ref(), targets);
        let kind = self.what(task, id, path, targets);
        self.put(Node {
            id,
            path: StepPath(path.into()),
            name: shared(&task.name),
            parent,
            condition: all(condition)?,
            flow: flow?,
            timeout: all(timeout)?,
            then: then?,
            kind: kind?,
            definition: task.tree.to_json(),
            part: self.part(),
        });
        Some(())
    }

    /// What a task does, and what its `metadata` says of that.
    pub(super) fn what(
        &mut self,
        task: &'a Task<'t>,
        id: NodeId,
        path: &str,
        targets: &Targets<'_>,
    ) -> Option<NodeKind> {
        let is_call = matches!(task.kind, Some(TaskKind::Call { .. } | TaskKind::Process(_)));
        let hints = self.hints(task);
        let kind = task.kind.as_ref().and_then(|kind| {
            let hints = hints.unwrap_or_default();
            self.deeper(&task.name.at, task.name.span, |c| c.kind(task, kind, hints, id, path, targets))
        });
        let compensated = !is_call || self.compensate(task, id, path);
        kind.filter(|_| compensated)
    }

    fn kind(
        &mut self,
        task: &'a Task<'t>,
        kind: &'a TaskKind<'t>,
        hints: Hints,
        id: NodeId,
        path: &str,
        targets: &Targets<'_>,
    ) -> Option<NodeKind> {
        match kind {
            TaskKind::Do(tasks) => {
                self.children(tasks, &format!("{path}/do"), id).map(|children| NodeKind::Do { children })
            }
            TaskKind::Set(tree) => self.template(tree, true).map(|value| NodeKind::Set { value }),
            TaskKind::Switch(cases) => {
                let cases: Vec<Option<Case>> = cases
                    .iter()
                    .map(|case| {
                        let when = case.when.as_ref().map(|t| self.bare(t));
                        let then = case.then.as_ref().and_then(|t| self.next(Some(t), targets));
                        Some(Case { name: shared(&case.name), when: all(when)?, then: then? })
                    })
                    .collect();
                Some(NodeKind::Switch { cases: cases.into_iter().collect::<Option<_>>()? })
            }
            TaskKind::For(model) => self.for_(task, model, hints, id, path),
            TaskKind::Fork { branches, compete } => {
                let ids: Vec<Option<NodeId>> = branches
                    .iter()
                    .enumerate()
                    .map(|(i, branch)| {
                        let branch_id = self.reserve(&branch.name.at, branch.name.span)?;
                        let path = format!("{path}/fork/branches/{i}/{}", escape(&branch.name.text));
                        self.task(branch, branch_id, Some(id), &path, &Targets::none())?;
                        Some(branch_id)
                    })
                    .collect();
                let join = self.join_of_fork(task.metadata, *compete, branches.len());
                Some(NodeKind::Fork { branches: ids.into_iter().collect::<Option<_>>()?, join: join? })
            }
            TaskKind::Try { body, catch } => {
                let name = &*task.name.text;
                let body_id = self.block(body, &format!("{path}/try"), name, Some(id), &task.name.at, task.name.span);
                let catch = self.catch(task, catch, id, path, targets);
                let (body_id, catch) = (body_id?, catch?);
                self.let_broker_retry(body_id, &catch);
                Some(NodeKind::Try { body: body_id, catch: Box::new(catch) })
            }
            TaskKind::Raise(error) => self.raised(error).map(|error| NodeKind::Raise { error }),
            TaskKind::Wait(tree) => self.duration(tree).map(|duration| NodeKind::Wait { duration }),
            TaskKind::Listen(model) => self.listen(task, model, id, path),
            TaskKind::Call { name, with } => self.call(name, with.as_ref(), hints, id, path),
            TaskKind::Process(process) => self.process(process, hints),
            TaskKind::RunWorkflow(model) => self.run_workflow(model),
            TaskKind::Emit(model) => self.emit(model, hints),
        }
    }

    fn for_(
        &mut self,
        task: &'a Task<'t>,
        model: &'a For<'t>,
        hints: Hints,
        id: NodeId,
        path: &str,
    ) -> Option<NodeKind> {
        let each: Arc<str> = model.each.as_ref().map_or_else(|| Arc::from("item"), shared);
        let at: Arc<str> = model.at.as_ref().map_or_else(|| Arc::from("index"), shared);
        let items = model.items.and_then(|t| self.template(t, true));
        let join = self.join_of_for(task.metadata, hints.concurrency);
        let (while_, body) = self.with_variables(&[Arc::clone(&each), Arc::clone(&at)], |c| {
            let while_ = model.while_.as_ref().map(|t| c.bare(t));
            let name = &*task.name.text;
            let body = c.block(&model.body, &format!("{path}/do"), name, Some(id), &task.name.at, task.name.span);
            (while_, body)
        });
        Some(NodeKind::For {
            each,
            at,
            items: items?,
            while_: all(while_)?,
            concurrency: hints.concurrency,
            join: join?,
            body: body?,
        })
    }

    fn catch(
        &mut self,
        task: &'a Task<'t>,
        model: &'a CatchModel<'t>,
        id: NodeId,
        path: &str,
        targets: &Targets<'_>,
    ) -> Option<Catch> {
        let as_: Arc<str> = model.as_.as_ref().map_or_else(|| Arc::from("error"), shared);
        let with = self.error_fields(&model.with);
        let then: Option<Option<Next>> = all(model.then.as_ref().map(|t| self.next(Some(t), targets)));
        let (when, except_when, retry, body) = self.with_variables(&[Arc::clone(&as_)], |c| {
            let name = &*task.name.text;
            (
                model.when.as_ref().map(|t| c.bare(t)),
                model.except_when.as_ref().map(|t| c.bare(t)),
                model.retry.as_ref().map(|r| c.retry(r)),
                model.body.as_ref().map(|tasks| {
                    c.block(tasks, &format!("{path}/catch/do"), name, Some(id), &task.name.at, task.name.span)
                }),
            )
        });
        Some(Catch {
            with: with?,
            as_,
            when: all(when)?,
            except_when: all(except_when)?,
            retry: all(retry)?,
            body: all(body)?,
            then: then?,
        })
    }

    /// Lets the worker of a `try` that holds exactly one call follow the retry policy by itself.
    fn let_broker_retry(&mut self, body: NodeId, catch: &Catch) {
        let Some(policy) = broker_policy(catch) else { return };
        let only = match self.nodes.get(body.0 as usize).and_then(Option::as_ref).map(|n| &n.kind) {
            Some(NodeKind::Do { children }) => match children.as_slice() {
                [only] => *only,
                [] | [_, ..] => return,
            },
            Some(_) | None => return,
        };
        let node = self.nodes.get_mut(only.0 as usize).and_then(Option::as_mut);
        // a timeout of the call begins anew with each pass: only the engine can see to that
        if let Some(Node { kind: NodeKind::Call(call), timeout: None, .. }) = node
            && call.system.is_none()
        {
            call.broker_retry = Some(policy);
        }
    }
}
