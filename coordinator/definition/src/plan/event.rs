//! Events in a plan: what a `listen` waits for.

use std::sync::Arc;

use super::{DataFlow, NodeId, Template};
use crate::expression::Expression;
use crate::pattern::Pattern;

/// `listen`: waits for events. Its output is the array of what it consumed, in order.
#[derive(Debug)]
pub struct Listen {
    /// Which events.
    pub events: Consumption,
    /// `foreach`: what is done with each event before the next is looked at.
    pub foreach: Option<Foreach>,
}

/// Which events are consumed, and when it is enough.
#[derive(Debug)]
pub struct Consumption {
    /// The filters of `one`, `any` or `all`, then those of the `until`. A filter without anything takes every event.
    pub filters: Vec<Filter>,
    /// How many of them are not of the `until`.
    pub own: usize,
    /// `one`, `any` or `all`.
    pub mode: Mode,
    /// `until`, of `any` only.
    pub until: Option<Until>,
    /// `read`.
    pub read: ReadAs,
}

/// How many events it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One event that fits one of the filters.
    One,
    /// One event for each filter, in any order. An event stands for one filter only.
    All,
}

/// What ends an `any` that goes on.
#[derive(Debug)]
pub enum Until {
    /// Nothing: its condition is the constant `false`.
    Never,
    /// A condition on the array of what was consumed so far, after each event.
    Condition(Expression),
    /// Other events, which are not part of the output.
    Consumed(Mode),
}

/// What an event gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// Its data.
    Data,
    /// All of it, as the JSON object of the structured form.
    Envelope,
    /// Its data as text: JSON as it is written, text and Base64 as they are.
    Raw,
}

impl ReadAs {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Envelope => "envelope",
            Self::Raw => "raw",
        }
    }
}

/// Which events fit.
#[derive(Debug)]
pub struct Filter {
    /// The `type`, where the filter gives it as plain text.
    pub kind: Option<Arc<str>>,
    /// Attributes but `data`, and what they must be.
    pub attributes: Vec<(Arc<str>, Wanted)>,
    /// `data`: an expression is evaluated on the event's data, and `true` or `false` decides. Any other value must be equal to
    /// the data.
    pub data: Option<Template>,
    /// `correlate`.
    pub correlate: Vec<Correlation>,
}

/// What an attribute must be.
#[derive(Debug)]
pub enum Wanted {
    /// This text.
    Text(Arc<str>),
    /// This text, or what the text matches as a regular expression.
    Pattern(Pattern),
    /// The value of an expression, evaluated on the task's input when it begins.
    Value(Template),
}

/// One key by which events belong together.
#[derive(Debug)]
pub struct Correlation {
    /// Its name: filters of one task that name the same key without an expectation must find the same value.
    pub key: Arc<str>,
    /// Finds the value; evaluated on the whole event, knows no variables.
    pub from: Expression,
    /// The value to find, evaluated on the task's input when it begins. None: the first one that was found.
    pub expect: Option<Template>,
}

/// `foreach`.
#[derive(Debug)]
pub struct Foreach {
    /// The variable that holds the event; `item` unless said.
    pub item: Arc<str>,
    /// The variable that holds its index, from 0; `index` unless said.
    pub at: Arc<str>,
    /// The list to run on each event (kind [`super::NodeKind::Do`]). None: the output is the event.
    pub body: Option<NodeId>,
    /// `output` and `export` of each event.
    pub flow: DataFlow,
}

impl Listen {
    /// The list of its `foreach`.
    #[must_use]
    pub fn body(&self) -> Option<NodeId> {
        self.foreach.as_ref().and_then(|foreach| foreach.body)
    }

    /// Whether events can end it.
    #[must_use]
    pub const fn ends(&self) -> bool {
        !matches!(self.events.until, Some(Until::Never))
    }
}

impl Consumption {
    /// Whether nothing has to happen: `all` of no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mode == Mode::All && self.own == 0
    }

    /// Whether events are consumed one after the other until something else ends it.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.until.is_some()
    }
}
