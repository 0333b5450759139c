//! Expressions: jq, compiled once per definition, bounded by counted work, depth and output size. Same input, same
//! result, everywhere.

use std::sync::Arc;

use serde_json::Value;

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    /// Its text without `${ }`.
    pub source: Arc<str>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${{ {} }}", self.source)
    }
}

/// The variables of an evaluation, by name without `$`. Every variable the plan's compiler accepts is passed in by name; one that has
/// no value at this place is absent and evaluates to null.
#[derive(Clone, Debug, Default)]
pub struct Variables(pub Vec<(Arc<str>, Arc<Value>)>);

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It failed, in jq's words.
    #[error("expression `{source_text}` failed: {reason}")]
    Failed {
        /// Its text.
        source_text: String,
        /// jq's words.
        reason: String,
    },
    /// It gave no value.
    #[error("expression `{source_text}` gave no value")]
    Empty {
        /// Its text.
        source_text: String,
    },
    /// It used more than it may.
    #[error("expression `{source_text}` exceeded its limit of {limit}")]
    Limit {
        /// Its text.
        source_text: String,
        /// Which limit, with its number.
        limit: String,
    },
}
