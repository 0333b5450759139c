//! Endpoints, and what is fetched from one.

use super::authentication::AuthenticationRef;
use super::expression_inside;
use super::policy::uri;
use super::reader::{Reader, Text};
use crate::tree::{Kind, Tree};

/// Where a call goes.
pub(crate) struct Endpoint<'t> {
    pub(crate) uri: Text,
    pub(crate) authentication: Option<AuthenticationRef<'t>>,
}

impl<'t> Endpoint<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let valid = |t: &Tree| reader.text(t, "`endpoint`").filter(|t| uri(reader, t, "the endpoint"));
        if matches!(tree.kind, Kind::Text(_)) {
            return valid(tree).map(|uri| Self { uri, authentication: None });
        }
        let mut fields = reader.object(tree, "`endpoint`")?;
        let uri = fields.need("uri").and_then(valid);
        let given = fields.take("authentication");
        let authentication = given.and_then(|t| AuthenticationRef::read(reader, t));
        fields.finish(reader);
        // a policy with mistakes must not become none
        (given.is_some() == authentication.is_some()).then_some(Self { uri: uri?, authentication })
    }
}

/// An external resource: the endpoint of a document or of a script.
pub(crate) fn resource<'t>(reader: &Reader<'_>, tree: &'t Tree, what: &'static str) -> Option<Endpoint<'t>> {
    let mut fields = reader.object(tree, what)?;
    if let Some(name) = fields.take("name") {
        reader.text(name, "`name`");
    }
    let endpoint = fields.need("endpoint").and_then(|t| Endpoint::read(reader, t));
    fields.finish(reader);
    endpoint
}

/// A URI whose places may be filled, but which is no expression: the standard allows none there.
pub(crate) fn template_uri(reader: &Reader<'_>, tree: &Tree, what: &str) -> Option<Text> {
    let text = reader.text(tree, what)?;
    if expression_inside(&text.text).is_some() {
        let help = "write a URI; `{name}` in it stands for a field of the task's input";
        reader.error("uri", text.span, &text.at, format!("{what} cannot be an expression"), help);
        return None;
    }
    uri(reader, &text, what).then_some(text)
}
