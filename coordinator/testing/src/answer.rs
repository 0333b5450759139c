//! What a step answers in place of its handler.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use stepmill_definition::{Place, Placed};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, Usage};

use crate::when::After;

/// Answers by step: its name, or its path where two steps have one name.
pub type Mocks = BTreeMap<Placed<String>, Answers>;

/// What a step answers: one answer for every attempt, or a list, of which each answers once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers(pub Vec<Placed<Answer>>);

/// One answer. It has exactly one of `result`, `error` and `hangs`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "answer")]
pub struct Answer {
    /// What the step gives. Expressions in it (`${ … }`) see the step's input.
    #[serde(default, deserialize_with = "given")]
    pub result: Option<Value>,
    /// The attempt fails with this error.
    #[serde(default)]
    pub error: Option<ErrorAnswer>,
    /// The worker never answers: the attempt ends with its timeout, or not at all.
    #[serde(default)]
    pub hangs: bool,
    /// Whether another attempt could go better after `error`; true unless said, as for the errors of a handler.
    #[serde(default)]
    pub retryable: Option<bool>,
    /// The worker asks for at least this delay before another attempt (`Retry-After`).
    #[serde(default)]
    pub retry_after: Option<After>,
    /// How long the attempt takes, in virtual time.
    #[serde(default)]
    pub latency: After,
    /// Answers only where this expression holds on the step's input.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub when: Option<Placed<String>>,
    /// How many attempts it answers: a number, or `always`. In a list once unless said, by itself always.
    #[serde(default)]
    pub times: Option<Times>,
    /// What the attempt uses up. A call of `llm` counts as one model call unless said.
    #[serde(default)]
    pub usage: Option<UsageAnswer>,
}

/// How often something answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Without end.
    Always,
    /// That often.
    Count(u32),
}

/// What an attempt uses up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "usage")]
pub struct UsageAnswer {
    /// Calls to a model.
    pub model_calls: u32,
    /// Tokens read by it.
    pub tokens_in: u64,
    /// Tokens written by it.
    pub tokens_out: u64,
}

impl From<UsageAnswer> for Usage {
    fn from(u: UsageAnswer) -> Self {
        Self { model_calls: u.model_calls, tokens_in: u.tokens_in, tokens_out: u.tokens_out, ..Self::default() }
    }
}

/// An error as problem details. A text alone is the detail of a runtime error.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorAnswer(pub Problem);

/// The object form of an error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "error")]
struct ErrorFields {
    /// A URI, or one of the standard's: configuration, validation, expression, authentication, authorization, timeout,
    /// communication, runtime (unless said).
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// The status, in the numbers of HTTP; that of the type unless said.
    #[serde(default)]
    status: Option<u16>,
    /// A short text.
    #[serde(default)]
    title: Option<String>,
    /// What happened.
    #[serde(default)]
    detail: Option<String>,
    /// Whatever else the error says.
    #[serde(default)]
    extra: Option<Value>,
}

const STANDARD: [(&str, Standard); 8] = [
    ("configuration", Standard::Configuration),
    ("validation", Standard::Validation),
    ("expression", Standard::Expression),
    ("authentication", Standard::Authentication),
    ("authorization", Standard::Authorization),
    ("timeout", Standard::Timeout),
    ("communication", Standard::Communication),
    ("runtime", Standard::Runtime),
];

/// The type URI of one of the standard's kinds by its short name; any other text is a type already.
pub(crate) fn type_uri(text: &str) -> String {
    match STANDARD.iter().find(|(name, _)| *name == text) {
        Some((_, kind)) => Problem::standard(*kind, "").kind,
        None => text.to_owned(),
    }
}

impl Answer {
    /// Gives this; expressions in it see the step's input.
    #[must_use]
    pub fn result(value: Value) -> Self {
        Self { result: Some(value), ..Self::default() }
    }

    /// Fails with this, and another attempt could go better.
    #[must_use]
    pub fn error(problem: Problem) -> Self {
        Self { error: Some(ErrorAnswer(problem)), ..Self::default() }
    }

    /// Never answers.
    #[must_use]
    pub fn hangs() -> Self {
        Self { hangs: true, ..Self::default() }
    }

    /// The same, and no other attempt could go better.
    #[must_use]
    pub fn terminal(self) -> Self {
        Self { retryable: Some(false), ..self }
    }

    /// The same, after this long.
    #[must_use]
    pub fn latency(self, latency: std::time::Duration) -> Self {
        Self { latency: latency.into(), ..self }
    }

    /// The same, for this many attempts.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { times: Some(Times::Count(count)), ..self }
    }
}

impl From<Answer> for Answers {
    fn from(answer: Answer) -> Self {
        let times = answer.times.or(Some(Times::Always));
        Self(vec![Answer { times, ..answer }.into()])
    }
}

impl<const N: usize> From<[Answer; N]> for Answers {
    fn from(list: [Answer; N]) -> Self {
        Self(list.into_iter().map(Placed::from).collect())
    }
}

/// A field that is there, though it may be null.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnswersVisitor;

        impl<'de> Visitor<'de> for AnswersVisitor {
            type Value = Answers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an answer or a list of answers")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Answers, A::Error> {
                Answer::deserialize(MapAccessDeserializer::new(map)).map(Answers::from)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Answers, A::Error> {
                let mut list = Vec::new();
                while let Some(answer) = seq.next_element::<Placed<Answer>>()? {
                    list.push(answer);
                }
                Ok(Answers(list))
            }
        }

        deserializer.deserialize_any(AnswersVisitor)
    }
}

impl JsonSchema for Answers {
    fn schema_name() -> Cow<'static, str> {
        "answers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Answer>();
        json_schema!({
            "description": "One answer for every attempt, or a list, of which each answers once.",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value == "always" {
            return Ok(Self::Always);
        }
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let wrong = || de::Error::custom("`times` must be a whole number from 1 on, or `always`");
        count.map(Self::Count).ok_or_else(wrong)
    }
}

impl JsonSchema for Times {
    fn schema_name() -> Cow<'static, str> {
        "times".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "integer", "minimum": 1 }, { "const": "always" }] })
    }
}

impl From<ErrorFields> for ErrorAnswer {
    fn from(fields: ErrorFields) -> Self {
        let kind = fields.kind.as_deref().unwrap_or("runtime");
        let standard = STANDARD.iter().find(|(name, _)| *name == kind).map(|(_, standard)| *standard);
        let like = Problem::standard(standard.unwrap_or(Standard::Runtime), "");
        Self(Problem {
            kind: type_uri(kind),
            status: fields.status.unwrap_or(like.status),
            title: fields.title.unwrap_or(like.title),
            detail: fields.detail,
            instance: None,
            extra: fields.extra,
        })
    }
}

impl<'de> Deserialize<'de> for ErrorAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ErrorVisitor;

        impl<'de> Visitor<'de> for ErrorVisitor {
            type Value = ErrorAnswer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an object with `type`, `status`, `title`, `detail`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ErrorAnswer, E> {
                Ok(ErrorAnswer(Problem::standard(Standard::Runtime, text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ErrorAnswer, A::Error> {
                ErrorFields::deserialize(MapAccessDeserializer::new(map)).map(ErrorAnswer::from)
            }
        }

        deserializer.deserialize_any(ErrorVisitor)
    }
}

impl JsonSchema for ErrorAnswer {
    fn schema_name() -> Cow<'static, str> {
        "errorAnswer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<ErrorFields>();
        json_schema!({ "anyOf": [{ "type": "string" }, fields] })
    }
}

/// The place of an answer, or of the step's name where the answer has none.
pub(crate) fn place_of<'a>(answer: &'a Placed<Answer>, step: &'a Placed<String>) -> &'a Place {
    if answer.place.span.is_some() { &answer.place } else { &step.place }
}
