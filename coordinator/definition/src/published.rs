//! The published JSON Schema: the standard's, and what we add inside of it, so that editors complete and check it.

/// The text of the schema, as it stands in `docs/schema/stepmill.json`. It refers to the standard's own by its address.
pub const SCHEMA: &str = include_str!("../../../docs/schema/stepmill.json");
