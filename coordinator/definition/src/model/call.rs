//! The arguments of `call: http`, and what other calls have in common with it.

use super::authentication::one_of;
use super::endpoint::Endpoint;
use super::reader::{Fields, Reader, Text};
use crate::tree::{Kind, Tree};

/// `with` of `call: http`.
pub(crate) struct Http<'t> {
    pub(crate) method: Option<&'t Tree>,
    pub(crate) endpoint: Option<Endpoint<'t>>,
    /// Handed to the worker as they are: headers, query, body, output, redirect.
    pub(crate) rest: Vec<(&'static str, &'t Tree)>,
}

impl<'t> Http<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`with` of `call: http`")?;
        let method =
            fields.need("method").filter(|t| reader.text(t, "`method`").is_some_and(|m| is_method(reader, &m)));
        let endpoint = fields.need("endpoint");
        let mut rest = Vec::new();
        for key in ["headers", "query"] {
            if let Some(value) = fields.take(key).filter(|t| texts(reader, t, key)) {
                rest.push((key, value));
            }
        }
        if let Some(body) = fields.take("body") {
            rest.push(("body", body));
        }
        if let Some(output) = fields.take("output").filter(|t| is_output(reader, t)) {
            rest.push(("output", output));
        }
        redirect(reader, &mut fields, &mut rest);
        fields.finish(reader);
        let endpoint = endpoint.and_then(|t| Endpoint::read(reader, t));
        Some(Self { method, endpoint, rest })
    }
}

/// `redirect`.
pub(crate) fn redirect<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, rest: &mut Vec<(&'static str, &'t Tree)>) {
    if let Some(redirect) = fields.take("redirect").filter(|t| reader.boolean(t, "`redirect`").is_some()) {
        rest.push(("redirect", redirect));
    }
}

fn is_method(reader: &Reader<'_>, method: &Text) -> bool {
    let is_expression = super::expression_inside(&method.text).is_some();
    let fine = is_expression || (!method.text.is_empty() && method.text.bytes().all(|b| b.is_ascii_alphabetic()));
    if !fine {
        let help = "write get, post, put, patch, delete or another method";
        reader.error("http-method", method.span, &method.at, format!("`{}` is not an HTTP method", method.text), help);
    }
    fine
}

/// Whether a text is one of the forms of an output.
pub(crate) fn is_output(reader: &Reader<'_>, tree: &Tree) -> bool {
    one_of(reader, tree, "output", &["raw", "content", "response"])
}

/// Checks an object of texts, or an expression that gives one.
pub(crate) fn texts(reader: &Reader<'_>, tree: &Tree, key: &str) -> bool {
    match &tree.kind {
        Kind::Map(entries) => {
            let wrong = entries.iter().filter(|e| reader.text(&e.value, &format!("`{}`", e.key)).is_none());
            wrong.count() == 0
        }
        Kind::Text(text) if super::expression_inside(text).is_some() => true,
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
            let message = format!("`{key}` must be an object of texts or an expression, not {}", tree.noun());
            reader.error("wrong-type", tree.span, &tree.at, message, "write `name: value` lines, or `${ … }`");
            false
        }
    }
}
