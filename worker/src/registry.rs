//! Step kinds and their handlers. A kind that is registered twice is refused when the worker is built.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmill_protocol::StepKind;

use crate::handler::AnyHandler;

/// Kind to handler.
#[derive(Default)]
pub(crate) struct Registry {
    handlers: BTreeMap<StepKind, Arc<dyn AnyHandler>>,
}

/// The kind has a handler already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("step `{0}` is registered twice; give one of the handlers another name")]
pub struct Duplicate(pub StepKind);

impl Registry {
    pub(crate) fn add(&mut self, kind: StepKind, handler: Arc<dyn AnyHandler>) -> Result<(), Duplicate> {
        if self.handlers.contains_key(&kind) {
            return Err(Duplicate(kind));
        }
        self.handlers.insert(kind, handler);
        Ok(())
    }

    pub(crate) fn get(&self, kind: &StepKind) -> Option<&Arc<dyn AnyHandler>> {
        self.handlers.get(kind)
    }

    pub(crate) fn kinds(&self) -> Vec<StepKind> {
        self.handlers.keys().cloned().collect()
    }
}
