//! `for`: the list is evaluated when it is entered; then one iteration after the other, or several at a time.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use stepmill_definition::plan::{Node, NodeKind, Template};
use stepmill_protocol::limit;
use stepmill_protocol::problem::Standard;

use super::Walk;
use crate::fault::Fault;
use crate::frame::{FrameId, Items, Join, Place, State};
use crate::mention::Texts;
use crate::observe::Passed;
use crate::scope::Site;
use crate::values::Held;

impl<'p> Walk<'p> {
    pub(super) fn enter_for(
        &mut self,
        site: &Site<'_>,
        node: &'p Node,
        items: &'p Template,
        concurrency: Option<u32>,
        raw: &Held,
        input: &Held,
    ) -> Result<(), Fault> {
        let list = self.evaluate(site, items, input.value())?;
        let count = count(&list)?;
        self.passed(Passed::Counted(node.id, count));
        let opening = self.opening(site, node, raw, input)?;
        let context = Texts::default().template(items).mention("context");
        let items = Items { count, context: self.live.context.clone().filter(|_| context), memo: OnceLock::from(list) };
        match concurrency {
            None => {
                let id = self.open(opening, State::Loop(items));
                self.iterate(id, 0, input.clone());
            }
            Some(_) => {
                let id = self.open(opening, State::Gather(items, Join::of(count)));
                self.fill(id);
            }
        }
        Ok(())
    }

    /// Begins the iteration with this index, or ends the loop.
    pub(super) fn iterate(&mut self, id: FrameId, index: u64, flow: Held) {
        let Some(frame) = self.live.frames.get(&id) else { return };
        let (State::Loop(items), Some(node)) = (&frame.state, self.plan.get(frame.node)) else { return };
        let NodeKind::For { body, .. } = &node.kind else { return };
        if index >= items.count {
            return self.leave(id, flow);
        }
        match self.goes_on(id, node, index, &flow) {
            Ok(true) => self.enter_next(Place { parent: Some(id), slot: index }, *body, flow),
            Ok(false) => self.leave(id, flow),
            Err(fault) => self.fail(id, fault),
        }
    }

    /// The loop's `while`, before an iteration, on its input.
    pub(super) fn goes_on(&self, id: FrameId, node: &Node, index: u64, flow: &Held) -> Result<bool, Fault> {
        let (NodeKind::For { while_: Some(condition), .. }, Some(frame)) = (&node.kind, self.live.frames.get(&id))
        else {
            return Ok(true);
        };
        let site = Site { place: Place { parent: Some(id), slot: index }, ..Site::inside(node, frame) };
        let goes_on = self.holds(&site, condition, flow.value())?;
        if !goes_on {
            self.passed(Passed::Stopped(node.id));
        }
        Ok(goes_on)
    }
}

fn count(list: &Arc<Value>) -> Result<u64, Fault> {
    let what = match list.as_ref() {
        Value::Array(items) if items.len() <= limit::FOR_ITEMS_MAX => return Ok(items.len() as u64),
        Value::Array(items) => {
            let (given, max) = (items.len(), limit::FOR_ITEMS_MAX);
            return Err(Fault::limit(format!("`for` has {given} items, {max} are allowed (FOR_ITEMS_MAX)")));
        }
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Object(_) => "an object",
    };
    Err(Fault::standard(Standard::Expression, format!("`for.in` must give an array, not {what}")))
}
