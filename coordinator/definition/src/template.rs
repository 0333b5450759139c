//! Evaluating [`Template`]s.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::expression::{ExpressionError, Variables, budget};
use crate::plan::Template;

impl Template {
    /// Its value.
    ///
    /// # Errors
    /// [`ExpressionError`] of the first expression inside that gives none.
    pub fn evaluate(&self, input: &Value, vars: &Variables) -> Result<Arc<Value>, ExpressionError> {
        match self {
            Self::Const(value) => Ok(Arc::clone(value)),
            Self::Expr(_) | Self::Array(_) | Self::Object(_) => {
                budget::together(|| self.build(input, vars)).map(Arc::new)
            }
        }
    }

    fn build(&self, input: &Value, vars: &Variables) -> Result<Value, ExpressionError> {
        match self {
            Self::Const(value) => Ok((**value).clone()),
            Self::Expr(expression) => expression.evaluate(input, vars),
            Self::Array(items) => items.iter().map(|t| t.build(input, vars)).collect(),
            Self::Object(entries) => {
                let entries = entries.iter().map(|(k, t)| Ok((k.clone(), t.build(input, vars)?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    /// Whether it has no expression inside.
    #[must_use]
    pub fn is_const(&self) -> bool {
        matches!(self, Self::Const(_))
    }
}
