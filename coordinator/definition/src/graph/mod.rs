//! Definitions as pictures: SVG and Mermaid, with the state of a run on them where there is one.

mod label;
mod layout;
mod marks;
mod mermaid;
mod shape;
mod svg;
mod way;

pub use marks::{Mark, Marks, State};

use crate::plan::Plan;

/// Draws a plan as an SVG document.
#[must_use]
pub fn svg(plan: &Plan, marks: &Marks) -> String {
    svg::draw(plan, marks)
}

/// Writes a plan as a Mermaid flowchart.
#[must_use]
pub fn mermaid(plan: &Plan, marks: &Marks) -> String {
    mermaid::write(plan, marks)
}
