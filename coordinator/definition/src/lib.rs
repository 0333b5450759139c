//! The language: from the text of an Open Workflow DSL 1.0 document to a plan. Pure: no clock, no randomness, no I/O.

mod compile;
pub mod duration;
pub mod expression;
pub mod mistake;
mod model;
mod near;
pub mod plan;
mod scalar;
pub mod schema;
mod template;
mod tree;

pub use compile::{Compiled, compile, digest};
pub use mistake::{Mistake, Mistakes, Severity, Shown};
