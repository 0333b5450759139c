//! The little that a scripted answer may take from a request: `{{name}}` for a picked text, `{{name[]}}` for all of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Name to the texts that were found, first to last, without repetitions.
pub(super) type Picked = BTreeMap<String, Vec<String>>;

/// Fills a text; what was not found is empty.
pub(super) fn fill_text(template: &str, picked: &Picked) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            text.push_str("{{");
            text.push_str(after);
            return text;
        };
        match name.trim().strip_suffix("[]") {
            Some(name) => text.push_str(&picked.get(name).map(|all| all.join(", ")).unwrap_or_default()),
            None => text.push_str(picked.get(name.trim()).and_then(|all| all.first()).map_or("", String::as_str)),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Fills every string of a value. A string that is nothing but `{{name}}` becomes `null` where nothing was found, and
/// one that is nothing but `{{name[]}}` becomes a list.
pub(super) fn fill_value(template: &Value, picked: &Picked) -> Value {
    match template {
        Value::String(text) => match lone_name(text) {
            Some(name) => match name.strip_suffix("[]") {
                Some(name) => picked.get(name).cloned().unwrap_or_default().into(),
                None => picked.get(name).and_then(|all| all.first()).map_or(Value::Null, |one| one.as_str().into()),
            },
            None => Value::String(fill_text(text, picked)),
        },
        Value::Array(items) => items.iter().map(|item| fill_value(item, picked)).collect(),
        Value::Object(map) => {
            let filled = map.iter().map(|(name, item)| (name.clone(), fill_value(item, picked)));
            Value::Object(filled.collect::<Map<String, Value>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    }
}

fn lone_name(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!name.contains("{{")).then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn picked_texts_fill_templates() {
        let picked = Picked::from([
            ("order".to_owned(), vec!["#W1".to_owned(), "#W2".to_owned()]),
            ("name".to_owned(), vec!["Ann".to_owned()]),
        ]);
        let template = json!({"o": "{{order}}", "all": "{{ order[] }}", "none": "{{zip}}", "no": ["{{zip[]}}"],
            "text": "Dear {{name}}, {{order[]}} {{zip}}.", "n": 7, "open": "{{name"});
        assert_eq!(
            fill_value(&template, &picked),
            json!({"o": "#W1", "all": ["#W1", "#W2"], "none": null, "no": [[]],
                "text": "Dear Ann, #W1, #W2 .", "n": 7, "open": "{{name"})
        );
    }
}
