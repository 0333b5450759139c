//! `emit` to a step: of the system itself, or of a worker where the event goes to an endpoint.

use stepmill_protocol::{PoolName, StepKind};

use super::Compiler;
use super::call::Hints;
use super::policy::all;
use super::value::object;
use crate::model::emit::Emit;
use crate::model::reader::Text;
use crate::plan::{Call, NodeKind, SystemStep, Template};
use crate::tree::{Entry, Kind};

/// The name of the worker's step, and what views and logs call that of the system.
const KIND: &str = "emit";

impl<'a, 't> Compiler<'a, 't> {
    pub(super) fn emit(&mut self, model: &'a Emit<'t>, hints: Hints) -> Option<NodeKind> {
        let attributes: Vec<_> = model.with.iter().map(|e| Some((e.key.to_string(), self.attribute(e)?))).collect();
        let endpoint = model.endpoint.as_ref().map(|e| self.endpoint(e));
        let attributes: Vec<(String, Template)> = attributes.into_iter().collect::<Option<_>>()?;
        let endpoint = all(endpoint)?;
        let (system, pool) = match (&endpoint, hints.pool) {
            (None, _) => (Some(SystemStep::Emit), PoolName::system()),
            (Some(_), Some(pool)) => (None, pool),
            (Some(_), None) => (None, PoolName::new("default").ok()?),
        };
        let mut with: Vec<_> = endpoint.map(|e| ("endpoint".to_owned(), e)).into_iter().collect();
        with.push(("event".to_owned(), object(attributes)));
        Some(NodeKind::Call(Box::new(Call {
            kind: StepKind::new(KIND).ok()?,
            with: Some(object(with)),
            pool,
            priority: hints.priority,
            broker_retry: None,
            emits: true,
            system,
        })))
    }

    fn attribute(&mut self, entry: &Entry) -> Option<Template> {
        match (&*entry.key, &entry.value.kind) {
            ("source" | "dataschema", Kind::Text(text)) => {
                let (span, at) = (entry.value.span, entry.value.at.clone());
                self.uri(&Text { text: text.clone(), span, at })
            }
            _ => self.template(&entry.value, false),
        }
    }
}
