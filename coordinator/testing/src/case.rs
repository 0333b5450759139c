//! A case as its author writes it: what the run is given, what its steps answer, what is expected.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use stepmill_definition::Placed;

use crate::answer::{Answers, Mocks};
use crate::expect::{ErrorPattern, Expect, Item};
use crate::when::{After, Moment};

/// One case.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "case")]
pub struct Case {
    /// What it shows, for people.
    #[schemars(with = "String")]
    pub name: Placed<String>,
    /// The workflow's input; null unless said.
    #[serde(default)]
    pub input: Value,
    /// When the run is submitted; 2026-01-01T00:00:00Z unless said.
    #[serde(default)]
    pub start: Moment,
    /// What the steps answer.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Answers>")]
    pub mocks: Mocks,
    /// Values sent to the run.
    #[serde(default)]
    pub signals: Vec<SignalAt>,
    /// CloudEvents that arrive.
    #[serde(default)]
    pub events: Vec<EventAt>,
    /// Somebody ends the run.
    #[serde(default)]
    pub cancel: Option<CancelAt>,
    /// Only this step is run, not the whole workflow.
    #[serde(default)]
    pub alone: Option<Alone>,
    /// What should come of it; a run that completes unless said.
    #[serde(default)]
    pub expect: Expect,
    /// What the steps answer in every case of the file, unless `mocks` says otherwise.
    #[serde(skip)]
    pub shared: Mocks,
}

/// A value sent to the run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "signal")]
pub struct SignalAt {
    /// How long after the submission.
    #[serde(default)]
    pub at: After,
    /// The signal's name.
    #[schemars(with = "String")]
    pub name: Placed<String>,
    /// Its value.
    #[serde(default)]
    pub data: Value,
}

/// A CloudEvent that arrives.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "event")]
pub struct EventAt {
    /// How long after the submission.
    #[serde(default)]
    pub at: After,
    /// The event, at least its `type`; `id`, `source` and `specversion` are filled in where they are missing.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub event: Placed<Value>,
    /// Whether the run waits for it then; true unless said.
    #[serde(default = "yes")]
    pub taken: bool,
}

const fn yes() -> bool {
    true
}

/// Somebody ends the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "cancel")]
pub struct CancelAt {
    /// How long after the submission.
    #[serde(default)]
    pub at: After,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// One step by itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "alone")]
pub struct Alone {
    /// Which: its name, or its path where two steps have one name.
    #[schemars(with = "String")]
    pub step: Placed<String>,
    /// What it is given; the workflow's input unless said.
    #[serde(default, deserialize_with = "crate::answer::given")]
    pub input: Option<Value>,
    /// `$context`.
    #[serde(default)]
    pub context: Value,
    /// What loops and catches around it would set, by name without `$`: `item`, `index`, `error` …
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
}

impl Case {
    /// A case that expects the run to complete.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into().into(), ..Self::default() }
    }

    /// With this input.
    #[must_use]
    pub fn input(self, input: Value) -> Self {
        Self { input, ..self }
    }

    /// With these answers of a step: one [`crate::Answer`] for all attempts, or an array of them.
    #[must_use]
    pub fn mock(mut self, step: &str, answers: impl Into<Answers>) -> Self {
        self.mocks.insert(step.into(), answers.into());
        self
    }

    /// With a signal at a time.
    #[must_use]
    pub fn signal(mut self, at: std::time::Duration, name: &str, data: Value) -> Self {
        self.signals.push(SignalAt { at: at.into(), name: name.into(), data });
        self
    }

    /// With a CloudEvent at a time, for which the run waits then.
    #[must_use]
    pub fn event(mut self, at: std::time::Duration, event: Value) -> Self {
        self.events.push(EventAt { at: at.into(), event: event.into(), taken: true });
        self
    }

    /// Only this step, on this input and context.
    #[must_use]
    pub fn alone(self, step: &str, input: Value, context: Value) -> Self {
        let alone = Alone { step: step.into(), input: Some(input), context, ..Alone::default() };
        Self { alone: Some(alone), ..self }
    }

    /// Expects exactly this output.
    #[must_use]
    pub fn expect_output(mut self, output: Value) -> Self {
        self.expect.output = Some(output.into());
        self
    }

    /// Expects the run to fail with an error of this type and status.
    #[must_use]
    pub fn expect_error(mut self, kind: &str, status: u16) -> Self {
        self.expect.error = Some(ErrorPattern::of(kind, status).into());
        self
    }

    /// Expects these steps to be entered in this order; `...` stands for any number of others.
    #[must_use]
    pub fn expect_path<'s>(mut self, path: impl IntoIterator<Item = &'s str>) -> Self {
        self.expect.path = Some(path.into_iter().map(|step| Item::from_text(step.into())).collect::<Vec<_>>().into());
        self
    }

    /// Expects what the rest of [`Expect`] says.
    #[must_use]
    pub fn expect(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }
}
