//! Prompts: text, any value, or a template (minijinja) with values. A template is bounded by counted work and by the size
//! of what it gives, and sees nothing but its values.

use std::io::{Error, Write};

use minijinja::{Environment, UndefinedBehavior};
use serde::Deserialize;
use serde_json::Value;

use crate::limit;

/// A prompt as a call gives it, with all expressions evaluated.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// `{template: TEXT, values: {…}}`.
    Template(Template),
    /// A text, or a value that is shown as JSON.
    Value(Value),
}

/// A template and what it may use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    template: String,
    #[serde(default)]
    values: Value,
}

impl Prompt {
    /// The text that a model gets; none where the prompt is null.
    pub(super) fn text(self) -> Result<Option<String>, String> {
        match self {
            Self::Template(template) => template.fill().map(Some),
            Self::Value(Value::Null) => Ok(None),
            Self::Value(Value::String(text)) => Ok(Some(text)),
            Self::Value(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                Ok(Some(value.to_string()))
            }
        }
    }
}

impl Template {
    fn fill(&self) -> Result<String, String> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(limit::TEMPLATE_WORK_MAX));
        environment.set_recursion_limit(limit::TEMPLATE_DEPTH_MAX);
        for (name, filter) in FILTERS {
            filter(&mut environment, name);
        }
        let wrong = |e: minijinja::Error| format!("the template cannot be filled: {}", with_line(&e));
        let template = environment.template_from_str(&self.template).map_err(wrong)?;
        let mut text = Bounded(Vec::new());
        template.render_captured_to(&self.values, &mut text).map_err(wrong)?;
        String::from_utf8(text.0).map_err(|e| e.to_string())
    }
}

type Add = fn(&mut Environment<'_>, &'static str);

/// What templates may use. Nothing that multiplies: counted work would not see it.
const FILTERS: [(&str, Add); 18] = {
    use minijinja::filters as f;
    [
        ("upper", |e, n| e.add_filter(n, f::upper)),
        ("lower", |e, n| e.add_filter(n, f::lower)),
        ("title", |e, n| e.add_filter(n, f::title)),
        ("capitalize", |e, n| e.add_filter(n, f::capitalize)),
        ("trim", |e, n| e.add_filter(n, f::trim)),
        ("replace", |e, n| e.add_filter(n, f::replace)),
        ("join", |e, n| e.add_filter(n, f::join)),
        ("length", |e, n| e.add_filter(n, f::length)),
        ("default", |e, n| e.add_filter(n, f::default)),
        ("first", |e, n| e.add_filter(n, f::first)),
        ("last", |e, n| e.add_filter(n, f::last)),
        ("sort", |e, n| e.add_filter(n, f::sort)),
        ("reverse", |e, n| e.add_filter(n, f::reverse)),
        ("unique", |e, n| e.add_filter(n, f::unique)),
        ("list", |e, n| e.add_filter(n, f::list)),
        ("items", |e, n| e.add_filter(n, f::items)),
        ("int", |e, n| e.add_filter(n, f::int)),
        ("tojson", |e, n| e.add_filter(n, f::tojson)),
    ]
};

fn with_line(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let said = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{said}{place}", error.kind())
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > limit::PROMPT_BYTES_MAX {
            return Err(Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(prompt: Value) -> Result<Option<String>, String> {
        serde_json::from_value::<Prompt>(prompt).unwrap().text()
    }

    #[test]
    fn templates_are_filled_with_their_values() {
        let template = "Dear {{ name|title }},{% for o in orders %}\n- {{ o.id }}: {{ o.n|default(1) }}{% endfor %}";
        let prompt = json!({"template": template,
            "values": {"name": "ann", "orders": [{"id": "#1", "n": 2}, {"id": "#2"}]}});
        assert_eq!(fill(prompt).unwrap().unwrap(), "Dear Ann,\n- #1: 2\n- #2: 1");
        assert_eq!(fill(json!("{{ plain }}")).unwrap().unwrap(), "{{ plain }}", "a text is no template");
        assert_eq!(fill(json!({"a": 1})).unwrap().unwrap(), "{\"a\":1}");
        assert_eq!(fill(Value::Null).unwrap(), None);
    }

    #[test]
    fn a_template_that_is_wrong_or_too_much_says_so() {
        let much = "{% for a in x %}{% for b in x %}{% for c in x %}{{ c }}{% endfor %}{% endfor %}{% endfor %}";
        let many: Vec<u32> = (0..1_000).collect();
        for (template, values, expected) in [
            ("line\n{{ nme }}", json!({"name": 1}), "in line 2"),
            ("{% for x in %}", json!({}), "the template cannot be filled"),
            ("{{ x|env }}", json!({"x": 1}), "unknown filter"),
            (much, json!({ "x": many }), "the template cannot be filled"),
            ("{{ x }}{{ x }}", json!({ "x": "y".repeat(limit::PROMPT_BYTES_MAX) }), "the template cannot be filled"),
        ] {
            let error = fill(json!({"template": template, "values": values})).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
