//! What a fold passes on its way through the plan, for those who test definitions. Where nobody looks on, nothing is kept.

use std::cell::RefCell;

use stepmill_definition::plan::{NodeId, Plan};
use stepmill_protocol::{Event, RunId, Timestamp};

use crate::advance::{Outcome, fold};
use crate::life::Tale;
use crate::run::Run;
use crate::walk::Walk;

/// One thing that a token did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It entered a node; where there is an `if`, it held.
    Entered(NodeId),
    /// It went past a node whose `if` did not hold.
    Skipped(NodeId),
    /// A `switch` chose the case with this number, counted from 0; none where no case held.
    Chose(NodeId, Option<usize>),
    /// A `for` begins, with this many items.
    Counted(NodeId, u64),
    /// The `while` of a `for` did not hold.
    Stopped(NodeId),
    /// A `try` will try its body again.
    Retried(NodeId),
    /// A `try` has caught an error for good.
    Caught(NodeId),
}

/// Looks on while events are folded.
#[derive(Debug, Default)]
pub struct Observer {
    pub(crate) passed: RefCell<Vec<Passed>>,
    /// What is told of tasks, for one that wants that instead.
    pub(crate) tale: Option<RefCell<Tale>>,
}

impl Observer {
    /// What was passed since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Passed> {
        self.passed.take()
    }
}

/// [`crate::advance`] with somebody who looks on; the outcome is the same.
#[must_use]
pub fn observe(plan: &Plan, id: RunId, run: Option<Run>, at: Timestamp, event: &Event, observer: &Observer) -> Outcome {
    fold(plan, id, run, at, event, Some(observer))
}

impl<'p> Walk<'p> {
    /// The same walk, with somebody who looks on, or nobody.
    pub(crate) fn observed(mut self, observer: Option<&'p Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Tells whoever looks on.
    pub(crate) fn passed(&self, what: Passed) {
        match self.observer {
            Some(Observer { tale: None, passed }) => passed.borrow_mut().push(what),
            Some(Observer { tale: Some(_), .. }) => {
                if let Passed::Retried(node) = what {
                    self.tell_retried(node);
                }
            }
            None => {}
        }
    }
}
