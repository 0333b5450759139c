//! What was seen while a case ran.

use std::collections::BTreeMap;

use serde_json::Value;
use stepmill_definition::plan::NodeId;
use stepmill_engine::Passed;

use crate::coverage::Key;
use crate::names::Names;
use crate::outcome::Sent;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Steps entered, in order; each attempt counts.
    pub(crate) path: Vec<NodeId>,
    /// What each `switch` chose.
    pub(crate) chose: Vec<(NodeId, Option<usize>)>,
    /// What was asked of workers, with the step.
    pub(crate) sent: Vec<(NodeId, Sent)>,
    /// The events that the run emitted, in order.
    pub(crate) emitted: Vec<Value>,
    /// How often each spot was passed.
    pub(crate) hits: BTreeMap<Key, u64>,
    /// The last node that was entered.
    pub(crate) last: Option<NodeId>,
}

impl Trail {
    /// Takes down what a fold passed.
    pub(crate) fn note(&mut self, names: Names<'_>, passed: Vec<Passed>) {
        for one in passed {
            match one {
                Passed::Entered(node) => {
                    self.last = Some(node);
                    if names.step(node).is_some() {
                        self.path.push(node);
                        self.hit(Key::Node(node));
                        self.hit(Key::If(node, true));
                    }
                }
                Passed::Skipped(node) => self.hit(Key::If(node, false)),
                Passed::Chose(node, case) => {
                    self.chose.push((node, case));
                    self.hit(Key::Case(node, case));
                }
                Passed::Counted(node, items) => self.hit(Key::Items(node, items > 0)),
                Passed::Stopped(node) => self.hit(Key::While(node)),
                Passed::Retried(node) => self.hit(Key::Retried(node)),
                Passed::Caught(node) => self.hit(Key::Caught(node)),
            }
        }
    }

    fn hit(&mut self, key: Key) {
        *self.hits.entry(key).or_default() += 1;
    }
}
