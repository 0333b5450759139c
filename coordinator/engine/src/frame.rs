//! What a run is made of while it lives: frames, the tokens that are about to enter a node, timers. Only data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_definition::plan::{Next, NodeId};
use stepmill_protocol::{CommandId, Pass, PoolName, Priority, RunId, TimerId, Timestamp, Visit};

use crate::bin::Bin;
use crate::gathered::{Blocks, Loose};
use crate::values::Held;
use crate::visit::Chain;

/// The number of a frame; a child's is larger than its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FrameId(pub(crate) u64);

/// Where below which frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// None for the workflow's own list.
    pub(crate) parent: Option<FrameId>,
    /// Below a `for` the index of the iteration, below a `fork` the number of the branch, below a list how often it has
    /// jumped backward; else 0.
    pub(crate) slot: u64,
}

/// A task that a token has entered and not left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub(crate) node: NodeId,
    pub(crate) place: Place,
    pub(crate) began: Timestamp,
    /// The task's raw input, where an expression still to come mentions it.
    pub(crate) raw: Option<Held>,
    /// The task's transformed input, where it is still needed.
    pub(crate) input: Option<Held>,
    /// Inside of a block that retries.
    pub(crate) chain: Option<Chain>,
    /// The task's timeout.
    pub(crate) timeout: Option<TimerId>,
    pub(crate) state: State,
    /// Where the token goes after the list around an extended task, once the task has said so. Last: it is left out of the stored
    /// form where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) then: Option<Next>,
}

/// What a task is doing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum State {
    /// A list: one of its tasks is under way.
    #[serde(rename = "d")]
    List,
    /// A function call: its body is under way.
    #[serde(rename = "s")]
    Scope,
    /// A `for`, one iteration at a time.
    #[serde(rename = "f")]
    Loop(Items),
    /// A concurrent `for`.
    #[serde(rename = "g")]
    Gather(Items, Join),
    /// A `fork`.
    #[serde(rename = "j")]
    Fork(Join),
    /// A `try`.
    #[serde(rename = "t")]
    Try(Try),
    /// A `wait`, until this timer.
    #[serde(rename = "w")]
    Wait(TimerId),
    /// A step that a worker runs.
    #[serde(rename = "c")]
    Call(Box<Call>),
    /// A `listen`.
    #[serde(rename = "l")]
    Listen(Box<Listen>),
}

/// When an event was stored, and its sequence: the order of all events.
pub(crate) type EventPlace = (Timestamp, u64);

/// A `listen`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listen {
    /// What each filter expects where expressions say so: digests, of what they gave when the task began.
    pub(crate) expects: Vec<Vec<Option<Bin<16>>>>,
    /// What correlations without an expectation have settled on.
    pub(crate) correlated: BTreeMap<String, Bin<16>>,
    /// Events that were stored before do not count.
    pub(crate) since: Timestamp,
    /// Nor do those up to this place: they were taken and are forgotten, or led here.
    pub(crate) floor: EventPlace,
    /// The last events that were taken: where they lie, and what stands for source and id.
    pub(crate) seen: VecDeque<(EventPlace, u64)>,
    /// Filters of an `all` that have their event.
    pub(crate) met: BTreeSet<u32>,
    /// What was consumed, or what the `foreach` made of it.
    pub(crate) consumed: Vec<Held>,
    /// Bytes of that.
    pub(crate) bytes: u64,
    /// How many were consumed.
    pub(crate) count: u64,
    /// Events that wait for the `foreach`.
    pub(crate) queue: VecDeque<Held>,
    /// The event that the `foreach` is at.
    pub(crate) current: Option<Held>,
    /// No more events are taken.
    pub(crate) closing: bool,
}

/// What a `for` goes through.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Items {
    pub(crate) count: u64,
    /// `$context` as it was when the list was evaluated, where the list's expression mentions it.
    pub(crate) context: Option<Held>,
    /// The list itself: in memory only, evaluated anew after a load.
    #[serde(skip)]
    pub(crate) memo: OnceLock<Arc<Value>>,
}

/// Branches under way at the same time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Join {
    /// The next branch to start.
    pub(crate) next: u64,
    /// Branches in all.
    pub(crate) count: u64,
    /// Branches under way.
    pub(crate) live: u32,
    /// What the finished ones gave, as far as it is in none of the blocks.
    pub(crate) outputs: Loose,
    /// Bytes of all outputs, and of the errors.
    pub(crate) bytes: u64,
    /// What the first ones gave.
    #[serde(default)]
    pub(crate) blocks: Blocks,
    /// Branches that failed without failing the task.
    #[serde(default)]
    pub(crate) failed: u64,
    /// Their errors, where the task's output tells them, as far as they are in none of the blocks.
    #[serde(default)]
    pub(crate) errors: Loose,
    /// The errors of the first ones.
    #[serde(default)]
    pub(crate) error_blocks: Blocks,
}

impl Join {
    /// Of so many branches, none of which has begun.
    pub(crate) fn of(count: u64) -> Self {
        Self {
            next: 0,
            count,
            live: 0,
            outputs: Loose::default(),
            bytes: 0,
            blocks: Blocks::default(),
            failed: 0,
            errors: Loose::default(),
            error_blocks: Blocks::default(),
        }
    }

    fn each_held(&mut self) -> impl Iterator<Item = &mut Held> {
        let (outputs, errors) = (self.outputs.each_held(), self.errors.each_held());
        outputs.chain(self.blocks.each_held()).chain(errors).chain(self.error_blocks.each_held())
    }

    /// Branches that have given something.
    pub(crate) fn gave(&self) -> u64 {
        self.blocks.given() + self.outputs.given()
    }

    /// Entries in it.
    pub(crate) fn gathered(&self) -> usize {
        self.outputs.len() + self.blocks.len() + self.errors.len() + self.error_blocks.len()
    }
}

/// A `try`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Try {
    pub(crate) phase: TryPhase,
    /// Attempts that failed so far.
    pub(crate) failed: u32,
    /// The pass of the steps inside.
    pub(crate) pass: Pass,
    /// The highest pass used inside so far.
    pub(crate) pass_max: Pass,
}

/// What a `try` is doing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TryPhase {
    /// Its body is under way, ended by this timer if the retry policy limits an attempt's time.
    #[serde(rename = "b")]
    Body(Option<TimerId>),
    /// The body failed and is to be tried again when this timer is due.
    #[serde(rename = "r")]
    Delay(TimerId),
    /// The body failed with this error, and the `catch` is under way.
    #[serde(rename = "c")]
    Catch(Held),
}

/// A step that a worker runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) visit: Visit,
    pub(crate) pass: Pass,
    /// The number of the dispatch that is open.
    pub(crate) dispatch: u32,
    /// What the worker gets.
    pub(crate) with: Held,
    /// The number of its first attempt: earlier passes of the block used up those before.
    pub(crate) first_attempt: u32,
    /// Attempts of this dispatch that failed and whose task the broker delivers again.
    pub(crate) redelivered: u32,
    /// The redelivery may not be run before this.
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) pool: PoolName,
    pub(crate) priority: Priority,
    /// The dispatch is settled and the step waits for the end of the run that it started.
    #[serde(default)]
    pub(crate) started: bool,
    /// There is no such run any more, or never was; only while the step is being left.
    #[serde(skip)]
    pub(crate) ended: bool,
}

impl Call {
    /// The dispatch that is open.
    pub(crate) fn id(&self, run: RunId) -> CommandId {
        CommandId { run, visit: self.visit, pass: self.pass, dispatch: self.dispatch }
    }

    /// The attempt under way, or the next one.
    pub(crate) fn attempt(&self) -> u32 {
        self.first_attempt.saturating_add(self.redelivered)
    }
}

/// A token that is about to go on, once the walk comes to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ready {
    /// Into a node, with this raw input.
    #[serde(rename = "e")]
    Enter(Place, NodeId, Held),
    /// Into the next branch of this frame, if it may have one more.
    #[serde(rename = "f")]
    Fill(FrameId),
}

impl Ready {
    /// The frame that it would go on below.
    pub(crate) fn parent(&self) -> Option<FrameId> {
        match self {
            Self::Enter(place, ..) => place.parent,
            Self::Fill(frame) => Some(*frame),
        }
    }
}

/// A timer that is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timer {
    pub(crate) due: Timestamp,
    pub(crate) ends: Ends,
}

/// What a timer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ends {
    /// The run.
    #[serde(rename = "r")]
    Run,
    /// A task: its timeout.
    #[serde(rename = "t")]
    Task(FrameId),
    /// One attempt at a block.
    #[serde(rename = "a")]
    Attempt(FrameId),
    /// The delay before the next attempt at a block.
    #[serde(rename = "d")]
    Delay(FrameId),
    /// A `wait`.
    #[serde(rename = "w")]
    Wait(FrameId),
}

impl Frame {
    /// Every reference to a value that the frame holds.
    pub(crate) fn each_held<E>(&mut self, mut f: impl FnMut(&mut Held) -> Result<(), E>) -> Result<(), E> {
        self.raw.iter_mut().chain(&mut self.input).try_for_each(&mut f)?;
        match &mut self.state {
            State::List | State::Scope | State::Wait(_) => Ok(()),
            State::Loop(items) => items.context.iter_mut().try_for_each(f),
            State::Gather(items, join) => {
                items.context.iter_mut().try_for_each(&mut f)?;
                join.each_held().try_for_each(f)
            }
            State::Fork(join) => join.each_held().try_for_each(f),
            State::Try(t) => match &mut t.phase {
                TryPhase::Catch(error) => f(error),
                TryPhase::Body(_) | TryPhase::Delay(_) => Ok(()),
            },
            State::Call(call) => f(&mut call.with),
            State::Listen(listen) => {
                let held = listen.consumed.iter_mut().chain(&mut listen.queue).chain(&mut listen.current);
                held.into_iter().try_for_each(f)
            }
        }
    }

    /// Every timer that the frame waits for.
    pub(crate) fn timers(&self) -> impl Iterator<Item = TimerId> {
        let of_state = match &self.state {
            State::Wait(timer) => Some(*timer),
            State::Try(t) => match t.phase {
                TryPhase::Body(timer) => timer,
                TryPhase::Delay(timer) => Some(timer),
                TryPhase::Catch(_) => None,
            },
            State::List | State::Scope | State::Loop(_) | State::Gather(..) | State::Fork(_) | State::Call(_) => None,
            State::Listen(_) => None,
        };
        self.timeout.into_iter().chain(of_state)
    }
}
