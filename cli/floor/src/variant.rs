//! The two ways to run the loop.

use serde_json::{Value, json};

/// With which settings the loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The product's own streams with their retention, windows and consumers, its subjects and its message ids: what the
    /// product could reach if it cost nothing itself.
    Product,
    /// One plain stream for each direction, kept by limits, without ids: shows that the loop itself is fast.
    Bare,
}

impl Variant {
    /// The name on the command line and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "floor",
            Self::Bare => "floor-bare",
        }
    }

    /// Reads what [`Variant::as_str`] gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Product, Self::Bare].into_iter().find(|v| v.as_str() == text)
    }

    /// The settings in words, for whoever reads a report.
    #[must_use]
    pub fn settings(self) -> Value {
        match self {
            Self::Product => json!({
                "tasks": "SM_TASKS_default as the product makes it (work queue, one durable per priority), message ids, plain acks",
                "results": "SM_LOG as the product makes it (limits, one subject per run), read without acks per partition",
            }),
            Self::Bare => json!({
                "tasks": "limits retention, one subject, no message ids, plain acks",
                "results": "limits retention, one subject, acked by the coordinator, plain acks",
            }),
        }
    }
}
