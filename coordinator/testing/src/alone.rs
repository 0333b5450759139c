//! The plan of one step by itself: the definition's own, with another root around the step.
//!
//! ```text
//! list: set up (gives the input, exports the context) ─▶ a `for` of one item per variable ─▶ the step ─▶ tell
//! ```

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::expression::Expression;
use stepmill_definition::plan::{DataFlow, Join, Next, Node, NodeId, NodeKind, Part, Plan, Template};
use stepmill_protocol::StepPath;

use crate::case::Alone;

/// What the last task of the plan gives.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) output: Value,
    pub(crate) context: Value,
}

/// Makes the plan of one step out of that of its whole definition. The last node is the one that tells.
pub(crate) fn rebuild(mut plan: Plan, step: NodeId, alone: &Alone, workflow_input: &Value) -> Plan {
    let input = alone.input.as_ref().unwrap_or(workflow_input);
    let flow = DataFlow { export_as: Some(constant(&alone.context)), ..DataFlow::default() };
    let setup = add(&mut plan, flow, NodeKind::Set { value: constant(input) });
    let mut body = step;
    for (name, value) in &alone.variables {
        let name: Arc<str> = name.as_str().into();
        let items = constant(&Value::Array(vec![value.clone()]));
        let around = NodeKind::For {
            each: name.clone(),
            at: name,
            items,
            while_: None,
            concurrency: None,
            join: Join::All,
            body,
        };
        body = add(&mut plan, DataFlow::default(), around);
    }
    let told = [("output", "."), ("context", "$context")].into_iter().filter_map(|(field, text)| {
        Some((field.to_owned(), Template::Expr(Expression::compile(text, &["context"]).ok()?)))
    });
    let told = Template::Object(told.collect());
    let root = NodeId(plan.nodes.len() as u32);
    let tell = NodeId(root.0 + 1);
    add(&mut plan, DataFlow::default(), NodeKind::Do { children: vec![setup, body, tell] });
    add(&mut plan, DataFlow::default(), NodeKind::Set { value: told });
    if let Some(node) = plan.nodes.get_mut(step.0 as usize) {
        node.then = Next::Continue;
    }
    plan.root = root;
    plan.flow = DataFlow::default();
    plan.timeout = None;
    plan
}

fn constant(value: &Value) -> Template {
    Template::Const(Arc::new(value.clone()))
}

fn add(plan: &mut Plan, flow: DataFlow, kind: NodeKind) -> NodeId {
    let id = NodeId(plan.nodes.len() as u32);
    plan.nodes.push(Node {
        id,
        path: StepPath("/".into()),
        name: "alone".into(),
        parent: None,
        condition: None,
        flow,
        timeout: None,
        then: Next::Continue,
        kind,
        definition: Value::Null,
        part: Part::Own,
    });
    id
}

/// What the last task gave, where the run came that far.
pub(crate) fn told(output: &Value) -> Option<Told> {
    let fields = output.as_object()?;
    Some(Told { output: fields.get("output")?.clone(), context: fields.get("context")?.clone() })
}
