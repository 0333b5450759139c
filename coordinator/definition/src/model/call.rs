//! The arguments of `call: http` and the authentication policies.

use super::policy::uri;
use super::reader::{Reader, Text};
use crate::tree::{Kind, Tree};

/// `with` of `call: http`.
pub(crate) struct Http<'t> {
    pub(crate) method: Option<&'t Tree>,
    pub(crate) uri: Option<Text>,
    pub(crate) authentication: Option<AuthenticationRef<'t>>,
    /// Handed to the worker as they are: headers, query, body, output, redirect.
    pub(crate) rest: Vec<(&'static str, &'t Tree)>,
}

/// An authentication policy in place, or the name of one of `use.authentications`.
pub(crate) enum AuthenticationRef<'t> {
    Inline(Authentication<'t>),
    Named(Text),
}

/// `basic` or `bearer` with their fields.
#[derive(Clone)]
pub(crate) struct Authentication<'t> {
    pub(crate) kind: &'static str,
    pub(crate) fields: Vec<(&'static str, &'t Tree)>,
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
        if let Some(redirect) = fields.take("redirect").filter(|t| reader.boolean(t, "`redirect`").is_some()) {
            rest.push(("redirect", redirect));
        }
        fields.finish(reader);
        let (uri, authentication) = endpoint.map(|t| read_endpoint(reader, t)).unwrap_or_default();
        Some(Self { method, uri, authentication, rest })
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

fn is_output(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Some(output) = reader.text(tree, "`output`") else { return false };
    let fine = ["raw", "content", "response"].contains(&&*output.text);
    if !fine {
        let message = format!("`output` cannot be `{}`", output.text);
        reader.error("wrong-value", output.span, &output.at, message, "use raw, content or response");
    }
    fine
}

/// Checks an object of texts, or an expression that gives one.
fn texts(reader: &Reader<'_>, tree: &Tree, key: &str) -> bool {
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

fn read_endpoint<'t>(reader: &Reader<'_>, tree: &'t Tree) -> (Option<Text>, Option<AuthenticationRef<'t>>) {
    let valid = |t: &Tree| reader.text(t, "`endpoint`").filter(|t| uri(reader, t, "the endpoint"));
    if matches!(tree.kind, Kind::Text(_)) {
        return (valid(tree), None);
    }
    let Some(mut fields) = reader.object(tree, "`endpoint`") else { return (None, None) };
    let uri = fields.need("uri").and_then(valid);
    let authentication = fields.take("authentication").and_then(|t| AuthenticationRef::read(reader, t));
    fields.finish(reader);
    (uri, authentication)
}

impl<'t> AuthenticationRef<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        if let Some(name) = tree.get("use") {
            let mut fields = reader.object(tree, "`authentication`")?;
            fields.take("use");
            fields.finish(reader);
            return reader.text(name, "`use`").map(Self::Named);
        }
        Authentication::read(reader, tree).map(Self::Inline)
    }
}

impl<'t> Authentication<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "an authentication policy")?;
        for kind in ["digest", "oauth2", "oidc"] {
            fields.refuse(kind, &format!("authentication `{kind}`; use `basic` or `bearer`"), reader);
        }
        let refused = ["digest", "oauth2", "oidc"].iter().any(|k| tree.get(k).is_some());
        let basic = fields.take("basic").map(|t| ("basic", t));
        let bearer = fields.take("bearer").map(|t| ("bearer", t));
        fields.finish(reader);
        let (kind, body) = match (basic, bearer) {
            (Some(_), Some((_, second))) => {
                reader.error(
                    "wrong-type",
                    second.span,
                    &second.at,
                    "an authentication policy has one kind",
                    "remove the other",
                );
                return None;
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => {
                if !refused {
                    let help = "write `basic:` with username and password, or `bearer:` with token";
                    reader.error("missing-key", tree.span, &tree.at, "the authentication policy has no kind", help);
                }
                return None;
            }
        };
        Self::body(reader, kind, body)
    }

    fn body(reader: &Reader<'_>, kind: &'static str, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "an authentication policy")?;
        if let Some(entry) = fields.entry("use") {
            let feature = "authentication by a whole secret; name its parts with `${ $secrets.… }`";
            reader.unsupported(feature, entry.key_span, &entry.value.at);
            return None;
        }
        let keys: &[&'static str] = if kind == "basic" { &["username", "password"] } else { &["token"] };
        let mut found = Vec::new();
        for key in keys {
            if let Some(value) = fields.need(key)
                && reader.text(value, "a part of an authentication policy").is_some()
            {
                found.push((*key, value));
            }
        }
        fields.finish(reader);
        Some(Self { kind, fields: found })
    }
}
