//! The arguments of `call: openapi`.

use super::authentication::AuthenticationRef;
use super::call::{is_output, redirect};
use super::endpoint::{Endpoint, resource};
use super::reader::Reader;
use crate::tree::Tree;

/// `with` of `call: openapi`.
pub(crate) struct OpenApi<'t> {
    pub(crate) document: Option<Endpoint<'t>>,
    pub(crate) authentication: Option<AuthenticationRef<'t>>,
    /// Handed to the worker as they are: operationId, parameters, output, redirect.
    pub(crate) rest: Vec<(&'static str, &'t Tree)>,
}

impl<'t> OpenApi<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`with` of `call: openapi`")?;
        let document = fields.need("document").and_then(|t| resource(reader, t, "`document`"));
        let mut parts = Vec::new();
        if let Some(id) = fields.need("operationId").filter(|t| reader.text(t, "`operationId`").is_some()) {
            parts.push(("operationId", id));
        }
        if let Some(values) = fields.take("parameters").filter(|t| reader.object(t, "`parameters`").is_some()) {
            parts.push(("parameters", values));
        }
        let given = fields.take("authentication");
        let authentication = given.and_then(|t| AuthenticationRef::read(reader, t));
        if let Some(output) = fields.take("output").filter(|t| is_output(reader, t)) {
            parts.push(("output", output));
        }
        redirect(reader, &mut fields, &mut parts);
        fields.finish(reader);
        (given.is_some() == authentication.is_some()).then_some(Self { document, authentication, rest: parts })
    }
}
