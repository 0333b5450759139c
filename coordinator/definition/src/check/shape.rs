//! What can be said of a template's value without evaluating it, as a JSON Schema.

use serde_json::{Map, Value, json};

use crate::plan::Template;

/// A schema that every value of the template fits.
pub(super) fn of(template: &Template) -> Value {
    match template {
        Template::Const(value) => json!({ "const": **value }),
        Template::Expr(expression) => expression.constant().map_or(Value::Bool(true), |v| json!({ "const": v })),
        Template::Array(items) => {
            let length = items.len();
            json!({
                "type": "array", "minItems": length, "maxItems": length,
                "prefixItems": items.iter().map(of).collect::<Vec<Value>>(),
            })
        }
        Template::Object(fields) => {
            let required: Vec<&String> = fields.iter().map(|(key, _)| key).collect();
            let properties: Map<String, Value> = fields.iter().map(|(key, t)| (key.clone(), of(t))).collect();
            json!({
                "type": "object", "required": required, "properties": properties, "additionalProperties": false,
            })
        }
    }
}
