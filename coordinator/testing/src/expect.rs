//! What a case expects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use stepmill_definition::Placed;
use stepmill_protocol::Priority;
use stepmill_protocol::api::RunState;

use crate::when::After;

/// What should come of a run. What is not said is not looked at, except that the run must complete.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "expect")]
pub struct Expect {
    /// Where the run stands in the end; `completed` unless said, `faulted` where an `error` is expected.
    #[schemars(with = "Option<ExpectedState>")]
    pub state: Option<Placed<ExpectedState>>,
    /// Exactly this output.
    #[serde(deserialize_with = "placed")]
    #[schemars(with = "Value")]
    pub output: Option<Placed<Value>>,
    /// An output with at least these fields.
    #[serde(deserialize_with = "placed")]
    #[schemars(with = "Value")]
    pub output_includes: Option<Placed<Value>>,
    /// `$context` in the end, exactly; only for a step that is run alone.
    #[serde(deserialize_with = "placed")]
    #[schemars(with = "Value")]
    pub context: Option<Placed<Value>>,
    /// An error with these fields.
    #[schemars(with = "Option<ErrorPattern>")]
    pub error: Option<Placed<ErrorPattern>>,
    /// The steps that are entered, in order; each attempt counts. `...` stands for any number of others.
    #[schemars(with = "Option<Vec<String>>")]
    pub path: Option<Placed<Vec<Item<Placed<String>>>>>,
    /// Steps that are not entered.
    #[schemars(with = "Vec<String>")]
    pub never: Vec<Placed<String>>,
    /// How many attempts at a step are made.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub attempts: BTreeMap<Placed<String>, u64>,
    /// What the run asks of workers, in order; each attempt counts. `...` stands for any number of others.
    #[schemars(with = "Option<Vec<Item<CommandPattern>>>")]
    pub commands: Option<Placed<Vec<Item<CommandPattern>>>>,
    /// The events that the run emits, in order, each with at least these attributes. `...` stands for any number of others.
    #[schemars(with = "Option<Vec<Value>>")]
    pub emitted: Option<Placed<Vec<Placed<Value>>>>,
    /// How many calls to a model are made.
    #[schemars(with = "Option<u32>")]
    pub model_calls: Option<Placed<u32>>,
    /// How long the run takes, in virtual time.
    #[schemars(with = "Option<After>")]
    pub took: Option<Placed<After>>,
    /// Expressions that hold on what is known at the end: `state`, `output`, `error`, `path`, `chose`, `commands`,
    /// `emitted`, `attempts`, `modelCalls`, `tokensIn`, `tokensOut`, `tookMs`, `waitsFor`.
    #[schemars(with = "Vec<String>")]
    pub holds: Vec<Placed<String>>,
}

/// Where a run stands in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "state")]
pub enum ExpectedState {
    /// It has an output.
    Completed,
    /// It ended with an error.
    Faulted,
    /// Somebody ended it.
    Cancelled,
    /// It still waits, and nothing that the case says will wake it.
    Running,
}

impl ExpectedState {
    /// The same state in the words of the protocol.
    #[must_use]
    pub const fn run_state(self) -> RunState {
        match self {
            Self::Completed => RunState::Completed,
            Self::Faulted => RunState::Faulted,
            Self::Cancelled => RunState::Cancelled,
            Self::Running => RunState::Running,
        }
    }
}

/// Fields of an error. What is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "errorPattern")]
pub struct ErrorPattern {
    /// A URI, or one of the standard's by its short name, for instance `timeout`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The status.
    pub status: Option<u16>,
    /// The title.
    pub title: Option<String>,
    /// The detail.
    pub detail: Option<String>,
    /// The path of the step that failed.
    pub instance: Option<String>,
}

impl ErrorPattern {
    /// This type and status.
    #[must_use]
    pub fn of(kind: &str, status: u16) -> Self {
        Self { kind: Some(kind.into()), status: Some(status), ..Self::default() }
    }
}

/// An item of a sequence that is expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<T> {
    /// `...`: any number of others, none included.
    Rest,
    /// This one.
    One(T),
}

/// What is written for [`Item::Rest`].
pub(crate) const REST: &str = "...";

impl Item<Placed<String>> {
    /// From a text, which may be `...`.
    #[must_use]
    pub fn from_text(text: Placed<String>) -> Self {
        if text.value == REST { Self::Rest } else { Self::One(text) }
    }
}

/// One thing that a run asks for. What is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "command")]
pub struct CommandPattern {
    /// The step: its name or path.
    #[schemars(with = "String")]
    pub step: Placed<String>,
    /// What is called, for instance `http`.
    #[serde(default)]
    pub call: Option<String>,
    /// The pool it is sent to.
    #[serde(default)]
    pub pool: Option<String>,
    /// Its priority there.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub priority: Option<Priority>,
    /// Exactly this input.
    #[serde(default, deserialize_with = "crate::answer::given")]
    pub input: Option<Value>,
    /// An input with at least these fields.
    #[serde(default, deserialize_with = "crate::answer::given")]
    pub input_includes: Option<Value>,
    /// The number of the attempt, from 1.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// How long after the submission.
    #[serde(default)]
    pub at: Option<After>,
}

impl<'de> Deserialize<'de> for Item<Placed<String>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Placed::<String>::deserialize(deserializer).map(Self::from_text)
    }
}

impl<'de> Deserialize<'de> for Item<CommandPattern> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;

        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item<CommandPattern>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `step`, or `...`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Item<CommandPattern>, E> {
                if text == REST { Ok(Item::Rest) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item<CommandPattern>, A::Error> {
                CommandPattern::deserialize(MapAccessDeserializer::new(map)).map(Item::One)
            }
        }

        deserializer.deserialize_any(ItemVisitor)
    }
}

impl JsonSchema for Item<CommandPattern> {
    fn schema_name() -> Cow<'static, str> {
        "commandItem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<CommandPattern>();
        json_schema!({ "anyOf": [{ "const": REST }, one] })
    }
}

/// A field that is there, though it may be null.
fn placed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Placed<Value>>, D::Error> {
    Placed::deserialize(deserializer).map(Some)
}
