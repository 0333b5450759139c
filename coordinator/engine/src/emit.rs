//! `emit`: what the definition gives of an event, made a whole CloudEvent.

use std::sync::Arc;

use serde_json::{Map, Value};
use stepmill_definition::plan::{Node, NodeKind, Template};
use stepmill_protocol::cloud::SPEC_VERSION;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{CloudEvent, CommandId, Pass, Visit};

use crate::fault::Fault;
use crate::frame::{Call, FrameId, State};
use crate::instant;
use crate::scope::Site;
use crate::walk::Walk;

/// The field of the step's input that holds the event.
const EVENT: &str = "event";

impl Walk<'_> {
    /// The input of an `emit`: what is given, and a whole event in it. Its id is the same for all passes, attempts and
    /// dispatches of the visit.
    pub(crate) fn event_to_emit(
        &self,
        site: &Site<'_>,
        node: &Node,
        with: &Template,
        input: &Value,
        visit: Visit,
    ) -> Result<Arc<Value>, Fault> {
        let mut with = self.evaluate(site, with, input)?.as_ref().clone();
        let given = with.get_mut(EVENT).map(Value::take);
        let Some(Value::Object(mut event)) = given else { return Err(wrong("it is not an object")) };
        // An attribute without value is absent.
        event.retain(|_, value| !value.is_null());
        let id = CommandId { run: self.head.id, visit, pass: Pass(0), dispatch: 1 };
        self.fill_in(&mut event, || id.event_id(&node.path));
        let event = CloudEvent::try_from(Value::Object(event)).map_err(|e| wrong(&e.to_string()))?;
        if let Some(field) = with.get_mut(EVENT) {
            *field = event.into();
        }
        Ok(Arc::new(with))
    }

    fn fill_in(&self, event: &mut Map<String, Value>, id: impl FnOnce() -> String) {
        let (namespace, name, version) = (&self.head.namespace, &self.head.workflow, &self.head.version);
        event.insert("specversion".into(), SPEC_VERSION.into());
        event.entry("id").or_insert_with(|| id().into());
        event.entry("source").or_insert_with(|| format!("/{namespace}/{name}/{version}").into());
        event.entry("time").or_insert_with(|| instant::iso8601(self.at).into());
    }

    /// The output of a step that emits, whoever carried it out: its event.
    pub(crate) fn emitted(&self, id: FrameId) -> Option<Arc<Value>> {
        let frame = self.live.frames.get(&id)?;
        let (NodeKind::Call(node), State::Call(call)) = (&self.plan.get(frame.node)?.kind, &frame.state) else {
            return None;
        };
        node.emits.then(|| call.with.value().get(EVENT).cloned().map(Arc::new))?
    }
}

/// The event of a step that emits.
pub(crate) fn completed(call: &Call) -> Option<CloudEvent> {
    CloudEvent::try_from(call.with.value().get(EVENT)?.clone()).ok()
}

fn wrong(why: &str) -> Fault {
    Fault::standard(Standard::Validation, format!("the event cannot be emitted: {why}"))
}
