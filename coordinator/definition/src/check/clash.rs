//! Values that can never fit the schema of the place where they go.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::flow::{Flow, always, items};
use super::{Check, fit, shape};
use crate::mistake::Severity::Error;
use crate::plan::{Join, Node, NodeId, NodeKind, Plan};
use crate::schema::Schema;

pub(super) fn check(check: &mut Check<'_>) {
    let plan = check.plan;
    let lists = Lists::of(plan, check.flow);
    let search = |begin: &dyn Fn(&mut Search<'_>)| {
        let mut search = Search { plan, lists: &lists, seen: HashSet::new(), found: Vec::new() };
        begin(&mut search);
        search.found
    };
    for node in check.reached() {
        if let Some(schema) = &node.flow.input_schema {
            let origins = search(&|s| s.input(node));
            report(
                check,
                &node.path.0,
                "/input/schema",
                schema,
                &origins,
                &format!("the input schema of `{}`", node.name),
            );
        }
        if let Some(schema) = &node.flow.output_schema {
            let origins = search(&|s| s.before_output_schema(node));
            report(
                check,
                &node.path.0,
                "/output/schema",
                schema,
                &origins,
                &format!("the output schema of `{}`", node.name),
            );
        }
        if let (Some(schema), Some(export)) = (&node.flow.export_schema, &node.flow.export_as) {
            let origins = [Origin { schema: shape::of(export), whose: "what it exports".into() }];
            report(
                check,
                &node.path.0,
                "/export/schema",
                schema,
                &origins,
                &format!("the export schema of `{}`", node.name),
            );
        }
    }
    if let Some(schema) = &plan.flow.output_schema {
        let origins = match &plan.flow.output_as {
            Some(template) => vec![Origin { schema: shape::of(template), whose: "what `output.as` gives".into() }],
            None => search(&|s| s.output(plan.node(plan.root))),
        };
        report(check, "", "/output/schema", schema, &origins, "the output schema of the workflow");
    }
}

/// Where a value comes from, and what is known of it.
struct Origin {
    schema: Value,
    whose: String,
}

fn report(check: &mut Check<'_>, path: &str, below: &str, schema: &Schema, origins: &[Origin], whose: &str) {
    for origin in origins {
        let why = match origin.schema.get("const") {
            // the whole value is known: the schema itself says whether it fits
            Some(value) => schema.check(value).err().map(|messages| messages.join("; ")),
            None => fit::clash(&origin.schema, schema.document()),
        };
        let Some(why) = why else { continue };
        let place = check.places.below(path, below);
        let message = format!("{} never fits {whose}: {why}", origin.whose);
        check.note_place(Error, "type-clash", place, message, "correct one of the two");
    }
}

/// What comes before what, by node.
struct Lists {
    before: Vec<Vec<NodeId>>,
    /// The tasks after which a list ends.
    last: Vec<Vec<NodeId>>,
}

impl Lists {
    fn of(plan: &Plan, flow: &Flow<'_>) -> Self {
        let mut lists = Self { before: vec![Vec::new(); plan.nodes.len()], last: vec![Vec::new(); plan.nodes.len()] };
        for node in plan.nodes.iter().filter(|n| flow.is_reached(n.id)) {
            let NodeKind::Do { children } = &node.kind else { continue };
            for (from, to) in children.iter().zip(flow.edges(children)).filter(|(from, _)| flow.is_reached(**from)) {
                for next in to {
                    let slot = match children.get(next) {
                        Some(task) => lists.before.get_mut(task.0 as usize),
                        None => lists.last.get_mut(node.id.0 as usize),
                    };
                    slot.into_iter().for_each(|all| all.push(*from));
                }
            }
        }
        lists
    }

    fn get(all: &[Vec<NodeId>], id: NodeId) -> &[NodeId] {
        all.get(id.0 as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Goes back from a place to all values that can come to it; what nothing is known of is left out.
struct Search<'p> {
    plan: &'p Plan,
    lists: &'p Lists,
    seen: HashSet<(bool, NodeId)>,
    found: Vec<Origin>,
}

impl Search<'_> {
    fn add(&mut self, schema: Value, whose: String) {
        if schema != Value::Bool(true) {
            self.found.push(Origin { schema, whose });
        }
    }

    /// What a node may get, before its `input`.
    fn input(&mut self, node: &Node) {
        if !self.seen.insert((false, node.id)) {
            return;
        }
        let plan = self.plan;
        for before in Lists::get(&self.lists.before, node.id) {
            self.output(plan.node(*before));
        }
        let Some(owner) = node.parent.and_then(|id| plan.get(id)) else {
            match (&plan.flow.input_from, &plan.flow.input_schema) {
                (Some(from), _) => self.add(shape::of(from), "what the workflow's `input.from` gives".into()),
                (None, Some(schema)) => self.add(schema.document().clone(), "the workflow's input".into()),
                (None, None) => {}
            }
            return;
        };
        match &owner.kind {
            NodeKind::Do { children } => {
                if children.first() == Some(&node.id) {
                    self.inner_input(owner);
                }
            }
            NodeKind::For { concurrency, .. } => {
                self.inner_input(owner);
                if concurrency.is_none() {
                    self.output(node);
                }
            }
            NodeKind::Fork { .. } => self.inner_input(owner),
            NodeKind::Try { body, .. } => {
                if *body == node.id {
                    self.inner_input(owner);
                }
            }
            NodeKind::Scope { with, .. } => self.add(shape::of(with), format!("what `{}` hands over", owner.name)),
            NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => {}
        }
    }

    /// What a node works on: its input after `input`.
    fn inner_input(&mut self, node: &Node) {
        match (&node.flow.input_from, &node.flow.input_schema) {
            (Some(from), _) => self.add(shape::of(from), format!("what `input.from` of `{}` gives", node.name)),
            (None, Some(schema)) => self.add(schema.document().clone(), format!("the input of `{}`", node.name)),
            (None, None) => self.input(node),
        }
    }

    /// What may come out of a node.
    fn output(&mut self, node: &Node) {
        if !self.seen.insert((true, node.id)) {
            return;
        }
        if node.condition.is_some() && always(node.condition.as_ref()) != Some(true) {
            self.input(node);
        }
        match &node.flow.output_schema {
            Some(schema) => self.add(schema.document().clone(), format!("what `{}` gives", node.name)),
            None => self.before_output_schema(node),
        }
    }

    fn before_output_schema(&mut self, node: &Node) {
        match &node.flow.output_as {
            Some(template) => self.add(shape::of(template), format!("what `{}` gives", node.name)),
            None => self.result(node),
        }
    }

    /// What a node does with its input, before its `output`.
    fn result(&mut self, node: &Node) {
        let plan = self.plan;
        match &node.kind {
            NodeKind::Set { value } => self.add(shape::of(value), format!("what `{}` gives", node.name)),
            NodeKind::Wait { .. } | NodeKind::Switch { .. } => self.inner_input(node),
            NodeKind::Do { children } => {
                if children.is_empty() {
                    self.inner_input(node);
                }
                for last in Lists::get(&self.lists.last, node.id) {
                    self.output(plan.node(*last));
                }
            }
            NodeKind::For { concurrency: Some(_), join, body, .. } => self.joined(node, *join, &[*body]),
            NodeKind::Fork { branches, join } => self.joined(node, *join, branches),
            NodeKind::For { concurrency: None, items: list, while_, body, .. } => {
                self.output(plan.node(*body));
                if while_.is_some() || items(list).is_none_or(|n| n == 0) {
                    self.inner_input(node);
                }
            }
            NodeKind::Try { body, catch } => {
                self.output(plan.node(*body));
                match catch.body {
                    Some(body) => self.output(plan.node(body)),
                    None if catch.only_retries() => {}
                    None => self.inner_input(node),
                }
            }
            NodeKind::Scope { body, .. } => self.output(plan.node(*body)),
            NodeKind::Raise { .. } | NodeKind::Call(_) | NodeKind::Listen(_) => {}
        }
    }

    /// What branches side by side give together.
    fn joined(&mut self, node: &Node, join: Join, branches: &[NodeId]) {
        let whose = format!("what `{}` gives", node.name);
        match join {
            Join::All | Join::Count(_) => self.add(json!({ "type": "array" }), whose),
            Join::Settled => self.add(
                json!({
                    "type": "object", "required": ["outputs", "errors"], "additionalProperties": false,
                    "properties": { "outputs": { "type": "array" }, "errors": { "type": "array" } },
                }),
                whose,
            ),
            Join::First | Join::Any => branches.iter().for_each(|branch| self.output(self.plan.node(*branch))),
        }
    }
}
