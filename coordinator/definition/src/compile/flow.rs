//! Lists of tasks: where a token goes from each, and which are never reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::StepPath;

use super::Compiler;
use crate::model::reader::Text;
use crate::model::task::Task;
use crate::near::nearest;
use crate::plan::{DataFlow, Next, Node, NodeId, NodeKind};
use crate::tree::{Pointer, Span, escape};

/// The tasks that a `then` may name.
pub(super) struct Targets<'n> {
    names: BTreeMap<&'n str, NodeId>,
    /// What `exit` means.
    exit: Next,
}

impl Targets<'_> {
    /// For a task that stands in no list.
    pub(super) const fn none() -> Self {
        Self { names: BTreeMap::new(), exit: Next::Exit }
    }
}

impl<'a, 't> Compiler<'a, 't> {
    /// A list that is not a task of its own: the workflow's `do`, the body of a loop …
    pub(super) fn block(
        &mut self,
        tasks: &'a [Task<'t>],
        path: &str,
        name: &str,
        parent: Option<NodeId>,
        at: &Pointer,
        span: Span,
    ) -> Option<NodeId> {
        let id = self.reserve(at, span)?;
        let children = self.deeper(at, span, |c| c.children(tasks, path, id))?;
        self.put(Node {
            id,
            path: StepPath(path.into()),
            name: name.into(),
            parent,
            condition: None,
            flow: DataFlow::default(),
            timeout: None,
            then: Next::Continue,
            kind: NodeKind::Do { children },
            definition: Value::Null,
            part: self.part(),
        });
        Some(id)
    }

    /// The tasks of a list.
    pub(super) fn children(&mut self, tasks: &'a [Task<'t>], path: &str, parent: NodeId) -> Option<Vec<NodeId>> {
        self.children_leaving(tasks, path, parent, Next::Exit)
    }

    /// The tasks of a list, in which `exit` means this.
    pub(super) fn children_leaving(
        &mut self,
        tasks: &'a [Task<'t>],
        path: &str,
        parent: NodeId,
        exit: Next,
    ) -> Option<Vec<NodeId>> {
        let ids: Vec<NodeId> =
            tasks.iter().map(|t| self.reserve(&t.name.at, t.name.span)).collect::<Option<Vec<_>>>()?;
        let names = tasks.iter().zip(&ids).map(|(t, id)| (&*t.name.text, *id)).collect();
        let targets = Targets { names, exit };
        let mut fine = true;
        for (i, (task, id)) in tasks.iter().zip(&ids).enumerate() {
            let path = format!("{path}/{i}/{}", escape(&task.name.text));
            fine &= self.task(task, *id, Some(parent), &path, &targets).is_some();
        }
        if fine {
            self.check_reached(tasks, &ids);
        }
        fine.then_some(ids)
    }

    /// Resolves a `then`.
    pub(super) fn next(&self, then: Option<&Text>, targets: &Targets<'_>) -> Option<Next> {
        let Some(then) = then else { return Some(Next::Continue) };
        match &*then.text {
            "continue" => return Some(Next::Continue),
            "exit" => return Some(targets.exit),
            "end" => return Some(Next::End),
            _ => {}
        }
        if let Some(id) = targets.names.get(&*then.text) {
            return Some(Next::To(*id));
        }
        let names = targets.names.keys().copied();
        let help = match nearest(&then.text, names.clone().chain(["continue", "exit", "end"])) {
            Some(near) => format!("did you mean `{near}`?"),
            None if targets.names.is_empty() => "use continue, exit or end".into(),
            None => format!(
                "use continue, exit, end, or a task of the same list: {}",
                names.take(20).collect::<Vec<_>>().join(", ")
            ),
        };
        let message = format!("there is no task `{}` in this list", then.text);
        self.reader.error("unknown-task", then.span, &then.at, message, help);
        None
    }

    /// Warns of tasks that no token ever gets to.
    fn check_reached(&self, tasks: &[Task<'_>], ids: &[NodeId]) {
        let index: BTreeMap<NodeId, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut reached = vec![false; tasks.len()];
        let mut open = vec![0];
        while let Some(i) = open.pop() {
            let Some(seen) = reached.get_mut(i) else { continue };
            if std::mem::replace(seen, true) {
                continue;
            }
            let node = ids.get(i).and_then(|id| self.nodes.get(id.0 as usize)).and_then(Option::as_ref);
            for next in node.map(|node| self.ways_out(node)).unwrap_or_default() {
                match next {
                    Next::Continue => open.push(i + 1),
                    Next::To(id) => open.extend(index.get(&id)),
                    Next::Exit | Next::Leave | Next::End => {}
                }
            }
        }
        for (task, _) in tasks.iter().zip(&reached).filter(|(_, r)| !**r) {
            let message = format!("task `{}` is never reached", task.name.text);
            let help = "remove it, or lead to it with `then` or a case of a `switch`";
            self.reader.warn("unreachable", task.name.span, &task.name.at, message, help);
        }
    }

    /// Where a token may go from a node; from one that is extended, as from itself.
    fn ways_out(&self, node: &Node) -> Vec<Next> {
        let get = |id: NodeId| self.nodes.get(id.0 as usize).and_then(Option::as_ref);
        let Some(core) = node.extended(get) else { return ways_out(node) };
        let mut ways = ways_out(core);
        ways.push(node.then);
        ways.extend(node.condition.is_some().then_some(Next::Continue));
        ways
    }
}

/// Where a token may go from a node.
fn ways_out(node: &Node) -> Vec<Next> {
    let mut ways = match &node.kind {
        NodeKind::Raise { .. } => Vec::new(),
        NodeKind::Switch { cases } => {
            let mut ways: Vec<Next> = cases.iter().map(|c| c.then).collect();
            if cases.iter().all(|c| c.when.is_some()) {
                ways.push(node.then);
            }
            ways
        }
        NodeKind::Try { catch, .. } => vec![node.then, catch.then.unwrap_or(node.then)],
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Listen(_)
        | NodeKind::Call(_) => vec![node.then],
    };
    if node.condition.is_some() {
        ways.push(Next::Continue);
    }
    ways
}

/// A shared name.
pub(super) fn shared(text: &Text) -> Arc<str> {
    Arc::from(&*text.text)
}
