//! A plan as a Mermaid flowchart.

use std::fmt::Write as _;

use super::label;
use super::marks::{Marks, State};
use super::way::{Target, ways};
use crate::check::flow::Flow;
use crate::plan::{Node, NodeId, NodeKind, Plan};

pub(super) fn write(plan: &Plan, marks: &Marks) -> String {
    let mut writer = Writer { plan, flow: Flow::of(plan), marks, out: String::new(), depth: 1 };
    let heading = marks.heading().map(|h| format!(", {h}")).unwrap_or_default();
    let _ = writeln!(writer.out, "---\ntitle: {} {}{heading}\n---\nflowchart TD", plan.name, plan.version.0);
    writer.line("start((start))");
    writer.line("finish(((end)))");
    if let NodeKind::Do { children } = &plan.node(plan.root).kind {
        writer.list(children, "finish");
        let first = children.first().map_or_else(|| "finish".to_owned(), |id| writer.entry(*id));
        writer.line(&format!("start --> {first}"));
    }
    writer.classes();
    writer.out
}

struct Writer<'p> {
    plan: &'p Plan,
    flow: Flow<'p>,
    marks: &'p Marks,
    out: String,
    depth: usize,
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{}{text}", "  ".repeat(self.depth));
    }

    /// What an arrow to a node points at.
    fn entry(&self, id: NodeId) -> String {
        format!("n{}", id.0)
    }

    /// The tasks of a list and the arrows between them; `end` is what stands for its end, empty where it is not drawn.
    fn list(&mut self, children: &[NodeId], end: &str) {
        for child in children {
            self.node(self.plan.node(*child));
        }
        for way in ways(self.plan, &self.flow, children) {
            if way.to == Target::Task(children.len()) && end.is_empty() {
                continue;
            }
            let Some(from) = children.get(way.from).map(|id| self.entry(*id)) else { continue };
            let to = match way.to {
                Target::Task(i) => children.get(i).map_or_else(|| end.to_owned(), |id| self.entry(*id)),
                Target::End => "finish".to_owned(),
            };
            let arrow = match &way.when {
                Some(when) => format!("-->|{}|", quote(&label::cut(when, 40))),
                None => "-->".to_owned(),
            };
            self.line(&format!("{from} {arrow} {to}"));
        }
    }

    fn node(&mut self, node: &Node) {
        let id = format!("n{}", node.id.0);
        match &node.kind {
            NodeKind::Do { children } => {
                self.begin(&id, &self.text(node));
                self.inner(children, &id);
                self.end();
            }
            NodeKind::For { body, .. } | NodeKind::Scope { body, .. } => {
                self.begin(&id, &self.text(node));
                self.block(*body);
                self.end();
            }
            NodeKind::Fork { branches, .. } => {
                self.begin(&id, &self.text(node));
                for branch in branches {
                    self.node(self.plan.node(*branch));
                }
                self.end();
            }
            NodeKind::Try { body, catch } => {
                self.begin(&id, &self.text(node));
                self.begin(&format!("{id}t"), "try");
                self.block(*body);
                self.end();
                let caught = quote(&label::caught(catch));
                match catch.body {
                    Some(body) => {
                        self.begin(&format!("{id}c"), &caught);
                        self.block(body);
                        self.end();
                    }
                    None => self.line(&format!("{id}c[{caught}]")),
                }
                self.line(&format!("{id}t -.->|error| {id}c"));
                self.end();
            }
            NodeKind::Switch { .. } => self.line(&format!("{id}{{{}}}", self.text(node))),
            NodeKind::Raise { .. } => self.line(&format!("{id}>{}]", self.text(node))),
            NodeKind::Wait { .. } => self.line(&format!("{id}([{}])", self.text(node))),
            NodeKind::Listen(listen) => match listen.body() {
                Some(body) => {
                    self.begin(&id, &self.text(node));
                    self.block(body);
                    self.end();
                }
                None => self.line(&format!("{id}([{}])", self.text(node))),
            },
            NodeKind::Call(_) => self.line(&format!("{id}[[{}]]", self.text(node))),
            NodeKind::Set { .. } => self.line(&format!("{id}[{}]", self.text(node))),
        }
    }

    /// A list that is part of a task: the body of a loop, of a `try` …
    fn block(&mut self, id: NodeId) {
        let node = self.plan.node(id);
        match &node.kind {
            NodeKind::Do { children } => self.inner(children, &format!("n{}", id.0)),
            NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => self.node(node),
        }
    }

    fn inner(&mut self, children: &[NodeId], id: &str) {
        let end = format!("{id}e");
        let all = ways(self.plan, &self.flow, children);
        let last = children.len();
        // the end is drawn only where something other than the last task leads to it
        if children.is_empty() || all.iter().any(|w| w.to == Target::Task(last) && w.from + 1 != last) {
            self.line(&format!("{end}(( ))"));
            self.list(children, &end);
        } else {
            self.list(children, "");
        }
    }

    fn begin(&mut self, id: &str, text: &str) {
        self.line(&format!("subgraph {id}[{text}]"));
        self.depth += 1;
    }

    fn end(&mut self) {
        self.depth -= 1;
        self.line("end");
    }

    /// What is written on a task.
    fn text(&self, node: &Node) -> String {
        let mut lines = vec![label::name(node)];
        lines.extend(Some(label::what(node)).filter(|what| !what.is_empty()));
        lines.extend(label::condition(node));
        let mark = self.marks.get(&node.path.0);
        lines.extend(mark.filter(|m| m.times > 1).map(|m| format!("{} times", m.times)));
        lines.extend(mark.filter(|m| m.failures > 0).map(|m| format!("{} failed", m.failures)));
        quote(&lines.join("\n"))
    }

    fn classes(&mut self) {
        let states = [
            (State::Done, "done", "fill:#dcf5e3,stroke:#2e9e5b,color:#14532d"),
            (State::Active, "active", "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a"),
            (State::Waiting, "waiting", "fill:#fef3c7,stroke:#d97706,color:#78350f"),
            (State::Failed, "failed", "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d"),
        ];
        for (state, class, style) in states {
            let is_drawn = |n: &&Node| n.parent.is_some_and(|p| !is_block(self.plan, n, p));
            let marked: Vec<String> = self
                .plan
                .nodes
                .iter()
                .filter(|n| self.marks.get(&n.path.0).is_some_and(|m| m.state == state))
                .filter(is_drawn)
                .map(|n| format!("n{}", n.id.0))
                .collect();
            if !marked.is_empty() {
                self.line(&format!("classDef {class} {style}"));
                self.line(&format!("class {} {class}", marked.join(",")));
            }
        }
    }
}

/// Whether a node is a list that is part of its parent, and no task of its own.
pub(super) fn is_block(plan: &Plan, node: &Node, parent: NodeId) -> bool {
    match &plan.node(parent).kind {
        NodeKind::For { .. } | NodeKind::Try { .. } | NodeKind::Listen(_) => matches!(node.kind, NodeKind::Do { .. }),
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Call(_) => false,
    }
}

/// A text in quotes, with what Mermaid would read as its own written as entities.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            '\n' => out.push_str("<br/>"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
