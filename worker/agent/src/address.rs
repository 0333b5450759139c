//! The address of a request: a digest of everything that is asked, the same for the same question.

use blake3::Hasher;
use serde_json::Value;
use stepmill_worker_engine::model::ModelRequest;

/// The address. The order of the keys in objects does not matter, that of lists does.
pub(crate) fn of(request: &ModelRequest) -> blake3::Hash {
    let mut hasher = Hasher::new();
    feed(&mut hasher, &serde_json::to_value(request).unwrap_or_default());
    hasher.finalize()
}

fn feed(hasher: &mut Hasher, value: &Value) {
    let mut put = |kind: u8, bytes: &[u8]| {
        hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    match value {
        Value::Null => put(0, b""),
        Value::Bool(yes) => put(1, &[u8::from(*yes)]),
        Value::Number(number) => put(2, number.to_string().as_bytes()),
        Value::String(text) => put(3, text.as_bytes()),
        Value::Array(items) => {
            put(4, &(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(fields) => {
            put(5, &(fields.len() as u64).to_le_bytes());
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            for (name, item) in sorted {
                feed(hasher, &Value::String(name.clone()));
                feed(hasher, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stepmill_worker_engine::model::{AnswerSchema, Message};

    use super::*;

    fn request(text: &str, schema: Value) -> ModelRequest {
        let schema = Some(AnswerSchema { name: "s".into(), schema });
        ModelRequest { model: "m".into(), messages: vec![Message::user(text)], schema, ..ModelRequest::default() }
    }

    #[test]
    fn the_same_question_has_the_same_address_and_no_other() {
        let one = of(&request("a", json!({"x": 1, "y": [1, 2]})));
        assert_eq!(one, of(&request("a", json!({"y": [1, 2], "x": 1}))));
        for other in [request("b", json!({"x": 1, "y": [1, 2]})), request("a", json!({"x": 1, "y": [2, 1]}))] {
            assert_ne!(one, of(&other));
        }
        let warm = ModelRequest { temperature: Some(0.5), ..request("a", json!({"x": 1, "y": [1, 2]})) };
        assert_ne!(one, of(&warm));
    }
}
