//! JSON Schemas of inputs and outputs, compiled once per definition.

/// A compiled JSON Schema (draft 2020-12 unless it says otherwise).
#[derive(Debug)]
pub struct Schema {}
