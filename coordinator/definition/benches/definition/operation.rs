//! What is measured of the language. The criterion bench beside it and the counts of `tests/instructions` do the same.

use std::sync::Arc;

use serde_json::{Value, json};
use stepmill_definition::Compiled;
use stepmill_definition::expression::{Expression, Variables};

/// The definition of the support desk, as it is in the repository.
const SUPPORT_TICKET: &str = include_str!("../../../../examples/support-ticket/workflow.yaml");

/// Compiles the definition of the support desk.
pub(crate) fn compile() -> Compiled {
    stepmill_definition::compile(SUPPORT_TICKET).unwrap()
}

/// A compiled expression with what it is evaluated on.
pub(crate) struct Case {
    expression: Expression,
    input: Value,
    variables: Variables,
}

impl Case {
    /// A path, which needs no interpreter.
    pub(crate) fn path() -> Self {
        Self::new(".order.customer.name")
    }

    /// An object of a path, a variable and a text.
    pub(crate) fn object() -> Self {
        Self::new(r#"{name: .order.customer.name, ticket: $context.ticket, text: ("Order " + (.order.id | tostring))}"#)
    }

    /// A filter over a list of a hundred.
    pub(crate) fn filter() -> Self {
        Self::new(".order.lines | map(select(.count > 50) | .item)")
    }

    fn new(text: &str) -> Self {
        let lines: Vec<Value> = (0..100).map(|n| json!({ "item": format!("item-{n}"), "count": n })).collect();
        let order = json!({ "id": 4711, "customer": { "name": "a name", "town": "a town" }, "lines": lines });
        Self {
            expression: Expression::compile(text, &["context"]).unwrap(),
            input: json!({ "order": order }),
            variables: Variables(vec![("context".into(), Arc::new(json!({ "ticket": "T-1" })))]),
        }
    }

    /// Evaluates the expression.
    pub(crate) fn evaluate(&self) -> Value {
        self.expression.evaluate(&self.input, &self.variables).unwrap()
    }
}
