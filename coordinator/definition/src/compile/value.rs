//! Expressions, templates, durations and schemas of a definition.

use std::sync::Arc;

use serde_json::Value;

use super::{Compiler, VARIABLES};
use crate::duration;
use crate::expression::{Expression, ExpressionMistake};
use crate::model::expression_inside;
use crate::model::reader::Text;
use crate::plan::{DurationSpec, Template};
use crate::schema::Schema;
use crate::tree::{Kind, Span, Tree};

impl Compiler<'_, '_> {
    /// The variables that may be used here.
    fn known(&self) -> Vec<Arc<str>> {
        VARIABLES.iter().map(|v| Arc::from(*v)).chain(self.scope.iter().cloned()).collect()
    }

    /// Runs `f` where these variables are known as well.
    pub(super) fn with_variables<T>(&mut self, names: &[Arc<str>], f: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.scope.len();
        self.scope.extend(names.iter().cloned());
        let out = f(self);
        self.scope.truncate(before);
        out
    }

    /// An expression where nothing else may stand: with or without `${ }`.
    pub(super) fn bare(&mut self, text: &Text) -> Option<Expression> {
        self.expression(text, expression_inside(&text.text).unwrap_or(&text.text))
    }

    fn expression(&mut self, text: &Text, inside: &str) -> Option<Expression> {
        let known = self.known();
        let known: Vec<&str> = known.iter().map(|k| &**k).collect();
        match Expression::compile(inside, &known) {
            Ok(expression) => {
                self.check_secrets(text, inside);
                Some(expression)
            }
            Err(mistake) => {
                self.report(text, inside, mistake);
                None
            }
        }
    }

    pub(super) fn report(&self, text: &Text, inside: &str, mistake: ExpressionMistake) {
        let ExpressionMistake { code, message, mut help, span } = mistake;
        if inside.contains("${") {
            help = "to put values into text, write one expression: `${ \"Hello \\(.name)\" }`".into();
        }
        let place = self.place(text, inside, span);
        self.reader.error(code, place, &text.at, message, help);
    }

    /// Where in the source a part of an expression stands; the text as a whole where that cannot be told.
    fn place(&self, text: &Text, inside: &str, span: Span) -> Span {
        let begin = inside.get(..span.0).and_then(|s| s.rfind('\n')).map_or(0, |i| i + 1);
        let line = inside.get(begin..).and_then(|s| s.lines().next()).unwrap_or_default();
        let found = self.reader.source.get(text.span.0..).and_then(|rest| rest.find(line.trim()));
        match found {
            Some(at) if !line.trim().is_empty() => {
                let lead = line.len() - line.trim_start().len();
                let start = text.span.0 + at + (span.0 - begin).saturating_sub(lead);
                let end = (start + span.1).min(text.span.0 + at + line.trim().len());
                (start, end.saturating_sub(start))
            }
            Some(_) | None => text.span,
        }
    }

    /// Refuses secrets that `use.secrets` does not name: they would be null at run time.
    fn check_secrets(&self, text: &Text, inside: &str) {
        for (at, found) in inside.match_indices("$secrets.") {
            let rest = &inside[at + found.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || self.uses.secrets.iter().any(|s| &*s.text == name) {
                continue;
            }
            let place = self.place(text, inside, (at, found.len() + end));
            let help = format!("add `{name}` to `use.secrets`");
            let message = format!("the secret `{name}` is not declared");
            self.reader.error("unknown-reference", place, &text.at, message, help);
        }
    }

    /// A value with expressions in it; `${ … }` marks them. Where `bare`, a text is an expression without the mark, too.
    pub(super) fn template(&mut self, tree: &Tree, bare: bool) -> Option<Template> {
        match &tree.kind {
            Kind::Text(text) => {
                let text = Text { text: text.clone(), span: tree.span, at: tree.at.clone() };
                match expression_inside(&text.text) {
                    Some(inside) => self.expression(&text, inside).map(Template::Expr),
                    None if bare => self.expression(&text, &text.text).map(Template::Expr),
                    None => {
                        self.check_text(&text);
                        Some(Template::Const(Arc::new(Value::String(text.text.to_string()))))
                    }
                }
            }
            Kind::List(items) => {
                let parts: Vec<Option<Template>> = items.iter().map(|t| self.template(t, false)).collect();
                let parts: Vec<Template> = parts.into_iter().collect::<Option<_>>()?;
                let constant = parts.iter().all(Template::is_const);
                Some(if constant { Template::Const(Arc::new(tree.to_json())) } else { Template::Array(parts) })
            }
            Kind::Map(entries) => {
                let parts: Vec<_> =
                    entries.iter().map(|e| Some((e.key.to_string(), self.template(&e.value, false)?))).collect();
                let parts: Vec<(String, Template)> = parts.into_iter().collect::<Option<_>>()?;
                Some(object(parts))
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => Some(Template::Const(Arc::new(tree.to_json()))),
        }
    }

    /// Warns of text that was probably meant as an expression.
    fn check_text(&self, text: &Text) {
        let t = text.text.trim();
        let word = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if t.contains("${") {
            let help = "an expression is the whole text: `${ \"Hello \\(.name)\" }`";
            self.reader.warn("text", text.span, &text.at, "`${` inside of text is not evaluated", help);
        } else if !t.contains(char::is_whitespace)
            && (t.strip_prefix('.').is_some_and(word)
                || t.strip_prefix('$').is_some_and(|r| {
                    self.known()
                        .iter()
                        .any(|k| r == &**k || r.strip_prefix(&**k).is_some_and(|r| r.starts_with(['.', '['])))
                }))
        {
            let message = format!("`{t}` is text here, not an expression");
            self.reader.warn("text", text.span, &text.at, message, format!("write `${{ {t} }}` to have it evaluated"));
        }
    }

    pub(super) fn duration(&mut self, tree: &Tree) -> Option<DurationSpec> {
        if let Kind::Text(text) = &tree.kind
            && let Some(inside) = expression_inside(text)
        {
            let text = Text { text: text.clone(), span: tree.span, at: tree.at.clone() };
            return self.expression(&text, inside).map(|e| DurationSpec::Template(Template::Expr(e)));
        }
        match duration::from_value(&tree.to_json()) {
            Ok(ms) => Some(DurationSpec::Const(ms)),
            Err(message) => {
                let help = "write ISO 8601 text such as `PT30S`, or an object such as `seconds: 30`";
                self.reader.error("duration", tree.span, &tree.at, message, help);
                None
            }
        }
    }

    pub(super) fn schema(&mut self, tree: &Tree) -> Option<Arc<Schema>> {
        match Schema::compile(&tree.to_json()) {
            Ok(schema) => Some(Arc::new(schema)),
            Err(message) => {
                let code = if message.contains("not supported yet") { "unsupported" } else { "schema" };
                let message = format!("the schema is not valid: {message}");
                self.reader.error(code, tree.span, &tree.at, message, "correct the JSON Schema (draft 2020-12)");
                None
            }
        }
    }
}

/// An object of templates; a constant where all of them are.
pub(super) fn object(parts: Vec<(String, Template)>) -> Template {
    let constant: Option<serde_json::Map<String, Value>> = parts
        .iter()
        .map(|(k, t)| match t {
            Template::Const(v) => Some((k.clone(), (**v).clone())),
            Template::Expr(_) | Template::Array(_) | Template::Object(_) => None,
        })
        .collect();
    match constant {
        Some(map) => Template::Const(Arc::new(Value::Object(map))),
        None => Template::Object(parts),
    }
}
