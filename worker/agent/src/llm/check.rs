//! Whether an answer can be used: its end, and its form where a schema was given.

use jsonschema::Validator;
use serde_json::Value;
use stepmill_worker_engine::model::{AnswerSchema, ModelAnswer, ModelError, ModelErrorKind, Stop};

use crate::limit;
use crate::text::quote;

/// An answer's schema, compiled.
pub(super) struct Checker {
    pub(super) schema: AnswerSchema,
    validator: Validator,
}

impl Checker {
    /// Reads `with.schema`, also where it is written in the standard's way (`format`, `document`).
    pub(super) fn new(given: &Value) -> Result<Self, String> {
        let schema = match (given.get("document"), given.get("type")) {
            (Some(document), None) => document,
            (Some(_) | None, Some(_) | None) => given,
        };
        let validator = jsonschema::validator_for(schema).map_err(|e| format!("`schema` is not a JSON Schema: {e}"))?;
        let title = schema.get("title").and_then(Value::as_str).unwrap_or("answer");
        let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let name = title.chars().take(64).map(safe).collect();
        Ok(Self { schema: AnswerSchema { name, schema: schema.clone() }, validator })
    }

    fn value(&self, answer: &ModelAnswer) -> Result<Value, ModelError> {
        let text = answer.text();
        let text = without_fence(&text);
        let value: Value = serde_json::from_str(text).map_err(|e| {
            ModelError::new(ModelErrorKind::Malformed, format!("the answer is not JSON ({e}): {}", quote(text)))
        })?;
        let mistakes: Vec<String> = self
            .validator
            .iter_errors(&value)
            .take(limit::MISMATCHES_MAX)
            .map(|error| {
                let place = error.instance_path().to_string();
                format!("{}: {error}", if place.is_empty() { "/" } else { &place })
            })
            .collect();
        if mistakes.is_empty() {
            return Ok(value);
        }
        let text = format!("the answer does not fit its schema: {}; it was {}", mistakes.join("; "), quote(text));
        Err(ModelError::new(ModelErrorKind::Mismatch, text))
    }
}

/// The answer's content, or why it cannot be used.
pub(super) fn content(answer: &ModelAnswer, checker: Option<&Checker>) -> Result<Value, ModelError> {
    let unusable = |kind, text: String| Err(ModelError::new(kind, text));
    match answer.stop {
        Stop::Refusal => {
            let words = quote(answer.refusal.as_deref().unwrap_or("it gave no reason"));
            return unusable(ModelErrorKind::Refused, format!("the model declined: {words}"));
        }
        Stop::Filter => {
            return unusable(ModelErrorKind::Refused, "the service's content filter stopped the answer".into());
        }
        Stop::Length => {
            let text = format!("the answer was cut after {} tokens; raise `max_tokens`", answer.tokens.output);
            return unusable(ModelErrorKind::Truncated, text);
        }
        Stop::Window => {
            let text = "the model's window was full before the answer's end; ask for less or give less";
            return unusable(ModelErrorKind::ContextTooLong, text.into());
        }
        Stop::End | Stop::ToolCalls | Stop::StopText | Stop::Paused | Stop::Other => {}
    }
    match checker {
        Some(checker) => checker.value(answer),
        None => Ok(Value::String(answer.text())),
    }
}

/// Some models put their JSON into a fenced block, whatever they are told.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}
