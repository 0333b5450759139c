//! Compensation: a run that failed or was cancelled undoes its finished steps, the last one first, before it ends.

use std::sync::Arc;

use serde_json::json;
use stepmill_definition::plan::NodeId;
use stepmill_protocol::{Problem, limit};

use super::Walk;
use crate::fault::{Fault, shortened};
use crate::frame::{Frame, Place};
use crate::run::{End, Undo};
use crate::values::{Held, Values};

impl Walk<'_> {
    /// Keeps a finished step that names what undoes it.
    pub(super) fn keep_to_undo(&mut self, frame: &Frame, output: &Held) {
        if self.live.ending.is_some() || !self.plan.compensations.contains_key(&frame.node) {
            return;
        }
        if let Some(input) = &frame.input {
            let (input, output) = (input.clone(), output.clone());
            self.live.undo.push(Undo { node: frame.node, input, output });
        }
    }

    /// Whether a step may begin that could have to be undone.
    pub(super) fn room_to_undo(&self, node: NodeId) -> Result<(), Fault> {
        let max = limit::COMPENSATIONS_MAX;
        if self.live.undo.len() < max || !self.plan.compensations.contains_key(&node) {
            return Ok(());
        }
        Err(Fault::limit(format!(
            "the run has finished {max} steps that name a compensation, more are not kept (COMPENSATIONS_MAX); split it into \
             several workflows"
        )))
    }

    /// Begins to undo; `end` is how the run ends afterwards.
    pub(super) fn begin_undoing(&mut self, end: End) {
        self.live.ending = Some(Box::new(end));
        self.undo_last();
    }

    /// Undoes the last step that is not undone yet. With none left, the run ends.
    pub(crate) fn undo_last(&mut self) {
        let Some(last) = self.live.undo.last() else {
            if let Some(end) = self.live.ending.take() {
                self.end_with(*end);
            }
            return;
        };
        let Some(node) = self.plan.compensations.get(&last.node).copied() else {
            return self.fault_run(Problem::own("compensation", 500, "No compensation", "the plan does not have it"));
        };
        let about = json!({ "input": last.input.value().as_ref(), "output": last.output.value().as_ref() });
        match self.values.make(Arc::new(about)) {
            Ok(about) => self.enter_next(Place { parent: None, slot: 0 }, node, about),
            Err(e) => self.undoing_failed(e.into()),
        }
    }

    /// A step is undone.
    pub(super) fn undone(&mut self) {
        self.close_all();
        if let Some(Undo { input, output, .. }) = self.live.undo.pop() {
            self.values.suspect(input.id());
            self.values.suspect(output.id());
        }
        self.undo_last();
    }

    /// A step could not be undone, and trying again has not helped: a person must look.
    pub(super) fn undoing_failed(&mut self, problem: Problem) {
        self.close_all();
        let path = self.live.undo.last().and_then(|u| self.plan.get(u.node)).map(|node| node.path.0.to_string());
        let (path, title) = (path.unwrap_or_default(), &problem.title);
        let why = problem.detail.as_deref().unwrap_or(title);
        let detail = format!(
            "{path} could not be undone: {why}; send the signal `compensate` to try again, or cancel the run to leave it so"
        );
        let parked = Problem {
            instance: problem.instance.clone().or(Some(path)),
            extra: serde_json::to_value(&problem).ok(),
            ..Problem::own("compensation-failed", 500, "Compensation failed", detail)
        };
        let fits = serde_json::to_value(&parked).is_ok_and(|value| Values::fits(&value));
        self.aside = Some(if fits { parked } else { shortened(&parked) });
    }

    /// A person gives up what is left to undo.
    pub(crate) fn forget_to_undo(&mut self) {
        self.live.undo.clear();
        self.live.ending = None;
    }
}
