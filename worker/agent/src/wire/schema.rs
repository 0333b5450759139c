//! The schema of an answer, as services want it.

use serde_json::Value;
use stepmill_worker_engine::model::{AnswerSchema, Message, ModelRequest};

/// The request with the schema in its instructions. It stands behind them, so that they stay a stable prefix.
pub(super) fn told(request: &ModelRequest, schema: &AnswerSchema) -> ModelRequest {
    let told = format!(
        "Answer with JSON and nothing else: no explanation, no code fence. It must fit this JSON Schema:\n{}",
        schema.schema
    );
    let mut request = ModelRequest { schema: None, ..request.clone() };
    let systems = request.messages.iter().take_while(|m| matches!(m, Message::System { .. })).count();
    request.messages.insert(systems, Message::system(told));
    request
}

/// Whether a schema closes all its objects, as OpenAI's strict mode wants it. It refuses schemas that leave anything open;
/// the answer is checked here in any case.
pub(super) fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let closed = match map.get("properties") {
                Some(Value::Object(properties)) => {
                    let required = map.get("required").and_then(Value::as_array);
                    let all = properties
                        .keys()
                        .all(|name| required.is_some_and(|r| r.iter().any(|v| v.as_str() == Some(name.as_str()))));
                    all && map.get("additionalProperties") == Some(&Value::Bool(false))
                }
                Some(_) => false,
                None => map.get("type").and_then(Value::as_str) != Some("object"),
            };
            closed && map.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_closed_schemas_are_strict() {
        let closed = json!({
            "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false,
        });
        assert!(is_strict(&closed));
        for (key, value) in [("required", json!([])), ("additionalProperties", json!(true))] {
            let mut open = closed.clone();
            open[key] = value;
            assert!(!is_strict(&open), "{key}");
        }
        assert!(!is_strict(&json!({"type": "array", "items": {"type": "object"}})));
    }
}
