//! Who reads along while a step's answer comes.

use std::sync::Arc;

use stepmill_worker::Context;

use crate::model::TokenSink;

/// Finds the readers of a step.
pub trait Readers: Send + Sync {
    /// Where the text of this step's answers goes; nowhere where nobody reads.
    fn of(&self, ctx: &Context) -> Option<Arc<dyn TokenSink>>;
}
