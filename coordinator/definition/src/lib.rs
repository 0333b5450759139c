//! The language: from the text of an Open Workflow DSL 1.0 document to a plan. Pure: no clock, no randomness, no I/O.

pub mod expression;
pub mod plan;
pub mod schema;
