//! The language: from the text of an Open Workflow DSL 1.0 document to a plan. Pure: no clock, no randomness, no I/O.

pub mod build;
pub mod check;
mod compile;
pub mod cron;
pub mod document;
pub mod duration;
pub mod expression;
pub mod graph;
pub mod mistake;
mod model;
mod near;
pub mod pattern;
pub mod plan;
mod published;
mod scalar;
pub mod schedule;
pub mod schema;
mod template;
mod tree;

pub use compile::{Compiled, compile, digest};
pub use document::{Document, Place, Placed};
pub use mistake::{Mistake, Mistakes, Severity, Shown};
pub use near::nearest;
pub use published::SCHEMA;

/// Whether a text is meant to be a definition: a document that has a `document`, or one that cannot be read but begins a line
/// with it.
#[must_use]
pub fn looks_like_definition(source: &str) -> bool {
    match tree::parse(source).0 {
        Some(root) => root.get("document").is_some(),
        None => source.lines().any(|l| l.starts_with("document:") || l.trim_start().starts_with("\"document\"")),
    }
}
