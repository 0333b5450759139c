//! JSON Schemas of inputs and outputs, compiled once per definition.

use serde_json::Value;

/// Messages of one check.
const MESSAGES_MAX: usize = 10;

/// A compiled JSON Schema (draft 2020-12 unless it says otherwise).
#[derive(Debug)]
pub struct Schema {
    validator: jsonschema::Validator,
    document: Value,
}

impl Schema {
    /// Compiles a schema. References may only lead into the schema itself; nothing is fetched.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let options = jsonschema::options().with_retriever(Nothing);
        let validator = options.build(schema).map_err(|e| format!("{e}"))?;
        Ok(Self { validator, document: schema.clone() })
    }

    /// The schema as it was written.
    #[must_use]
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// Checks a value.
    ///
    /// # Errors
    /// What does not fit, each with its place (JSON pointer); ten at most.
    pub fn check(&self, value: &Value) -> Result<(), Vec<String>> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let messages = self.validator.iter_errors(value).take(MESSAGES_MAX).map(|e| {
            let place = e.instance_path().to_string();
            let text = cut(&e.masked_with("the value").to_string());
            if place.is_empty() { text } else { format!("{place}: {text}") }
        });
        Err(messages.collect())
    }
}

fn cut(text: &str) -> String {
    /// Characters of one message; a schema may quote long lists of allowed values.
    const MESSAGE_CHARS: usize = 300;
    let mut out: String = text.chars().take(MESSAGE_CHARS).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// Refuses every reference out of the schema.
struct Nothing;

impl jsonschema::Retrieve for Nothing {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("not supported yet: references to other documents ({uri}); write the schema inline").into())
    }
}
