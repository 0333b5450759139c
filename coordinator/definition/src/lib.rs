//! The language: from the text of an Open Workflow DSL 1.0 document to a plan. Pure: no clock, no randomness, no I/O.

pub mod duration;
pub mod expression;
mod near;
pub mod plan;
pub mod schema;
mod template;
