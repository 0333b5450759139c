//! Extensions to nodes: a task that is extended becomes a list of its name and place, in which the task itself stands between
//! what comes before and after it.
//!
//! The list has what is said of the task (`if`, `input`, `output`, `export`, `timeout`), so that it holds for the whole. What
//! comes before gets the task's input, what comes after its output, and what they give is dropped: unless a task of `before`
//! leaves with `exit`, whose output then is the extended task's.

use serde_json::Value;
use stepmill_protocol::StepPath;

use super::Compiler;
use super::flow::{Targets, shared};
use super::policy::all;
use crate::expression::Expression;
use crate::model::expression_inside;
use crate::model::extension::Extension;
use crate::model::reader::Text;
use crate::model::task::Task;
use crate::plan::{DataFlow, Next, Node, NodeId, NodeKind, Part, Template};
use crate::tree::escape;

/// Where tasks of an extension stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// An extension with its number.
type Numbered<'a, 't> = (usize, &'a Extension<'t>);

impl<'a, 't> Compiler<'a, 't> {
    /// Those that are for a task. Tasks of extensions are not extended.
    pub(super) fn extensions_of(&self, task: &Task<'t>) -> Vec<Numbered<'a, 't>> {
        let Some(kind) = task.kind.as_ref().filter(|_| self.extends.is_none()) else { return Vec::new() };
        let uses = self.uses;
        let all = uses.extensions.iter().enumerate().filter_map(|(i, e)| Some((i, e.as_ref()?)));
        all.filter(|(_, e)| e.is_for(kind)).collect()
    }

    /// Compiles an extended task into the node `id`.
    pub(super) fn extended(
        &mut self,
        task: &'a Task<'t>,
        id: NodeId,
        parent: Option<NodeId>,
        path: &str,
        targets: &Targets<'_>,
        extensions: &[Numbered<'a, 't>],
    ) -> Option<()> {
        let condition = task.condition.as_ref().map(|t| self.bare(t));
        let flow = self.flow(&task.flow);
        let timeout = task.timeout.as_ref().map(|t| self.timeout(t));
        let then = self.next(task.then.as_ref(), targets);
        let core = self.reserve(&task.name.at, task.name.span)?;
        let around = |c: &mut Self, side, (i, extension): Numbered<'a, 't>| {
            let path = format!("{path}/use/extensions/{i}/{}", escape(&extension.name.text));
            c.side(extension, side, core, Some(id), &path)
        };
        // the first extension is the outermost
        let before: Vec<_> = extensions.iter().map(|e| around(self, Side::Before, *e)).collect();
        let done = self.bare_task(task, core, id, path, targets);
        let after: Vec<_> = extensions.iter().rev().map(|e| around(self, Side::After, *e)).collect();
        let blocks = |blocks: Vec<Option<Option<NodeId>>>| blocks.into_iter().collect::<Option<Vec<_>>>();
        let (before, after) = (blocks(before)?, blocks(after)?);
        done?;
        let children = before.into_iter().flatten().chain([core]).chain(after.into_iter().flatten()).collect();
        self.put(Node {
            id,
            path: StepPath(path.into()),
            name: shared(&task.name),
            parent,
            condition: all(condition)?,
            flow: flow?,
            timeout: all(timeout)?,
            then: then?,
            kind: NodeKind::Do { children },
            definition: Value::Null,
            part: self.part(),
        });
        Some(())
    }

    /// The task itself, without what the list around it has.
    fn bare_task(
        &mut self,
        task: &'a Task<'t>,
        id: NodeId,
        parent: NodeId,
        path: &str,
        targets: &Targets<'_>,
    ) -> Option<()> {
        let then = self.next(task.then.as_ref(), targets);
        let kind = self.what(task, id, path, targets);
        self.put(Node {
            id,
            path: StepPath(path.into()),
            name: shared(&task.name),
            parent: Some(parent),
            condition: None,
            flow: DataFlow::default(),
            timeout: None,
            then: then?,
            kind: kind?,
            definition: task.tree.to_json(),
            part: Part::Extended,
        });
        Some(())
    }

    /// What an extension has on one side of a task; none where that is nothing.
    fn side(
        &mut self,
        extension: &'a Extension<'t>,
        side: Side,
        core: NodeId,
        parent: Option<NodeId>,
        path: &str,
    ) -> Option<Option<NodeId>> {
        let (tasks, key, exit) = match side {
            Side::Before => (&extension.before, "before", Next::Leave),
            Side::After => (&extension.after, "after", Next::Exit),
        };
        if tasks.is_empty() {
            return Some(None);
        }
        let (at, span) = (&extension.name.at, extension.name.span);
        let id = self.reserve(at, span)?;
        let path = format!("{path}/{key}");
        self.extends = Some(core);
        let (condition, children) = self.with_functions_scope(|c| {
            let condition = extension.when.as_ref().map(|t| c.applies(t));
            (condition, c.deeper(at, span, |c| c.children_leaving(tasks, &path, id, exit)))
        });
        let part = self.part();
        self.extends = None;
        let output_as = Expression::compile("$input", &["input"]).ok().map(Template::Expr);
        self.put(Node {
            id,
            path: StepPath(path.as_str().into()),
            name: shared(&extension.name),
            parent,
            condition: all(condition)?,
            flow: DataFlow { output_as, ..DataFlow::default() },
            timeout: None,
            then: Next::Continue,
            kind: NodeKind::Do { children: children? },
            definition: Value::Null,
            part,
        });
        Some(Some(id))
    }

    /// `when`: what cannot be evaluated on a task is not for it.
    fn applies(&mut self, text: &Text) -> Option<Expression> {
        self.bare(text)?;
        let inside = expression_inside(&text.text).unwrap_or(&text.text);
        Expression::compile(&format!("try ({inside}\n) catch false"), &super::VARIABLES).ok()
    }

    /// Compiles every extension once and drops the result, so that mistakes in one that is for no task are seen.
    pub(super) fn check_extensions(&mut self) {
        let uses = self.uses;
        for (i, extension) in uses.extensions.iter().enumerate() {
            let Some(extension) = extension else { continue };
            if extension.before.is_empty() && extension.after.is_empty() {
                let help = "add `before:` or `after:` with tasks";
                let message = format!("the extension `{}` does nothing", extension.name.text);
                self.reader.warn("no-effect", extension.name.span, &extension.name.at, message, help);
            }
            let before = self.nodes.len();
            let path = format!("/use/extensions/{i}/{}", escape(&extension.name.text));
            self.side(extension, Side::Before, NodeId(0), None, &path);
            self.side(extension, Side::After, NodeId(0), None, &path);
            self.nodes.truncate(before);
            self.compensations.retain(|task, _| (task.0 as usize) < before);
        }
    }

    /// What a node that is made now is, seen from extensions.
    pub(super) fn part(&self) -> Part {
        self.extends.map_or(Part::Own, Part::Around)
    }
}
