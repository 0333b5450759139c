//! `emit`.

use super::endpoint::Endpoint;
use super::event::attributes;
use super::reader::{Fields, Reader};
use crate::tree::{Entry, Tree};

/// `emit`, and where its event goes.
pub(crate) struct Emit<'t> {
    pub(crate) with: Vec<&'t Entry>,
    /// `metadata.endpoint`.
    pub(crate) endpoint: Option<Endpoint<'t>>,
}

impl<'t> Emit<'t> {
    pub(crate) fn read(reader: &Reader<'_>, task: &mut Fields<'t>, tree: &'t Tree) -> Option<Self> {
        let given = task.take("metadata").and_then(|metadata| metadata.get("endpoint"));
        let endpoint = given.and_then(|t| Endpoint::read(reader, t));
        let mut fields = reader.object(tree, "`emit`")?;
        let event = fields.need("event").and_then(|t| reader.object(t, "`event`"));
        fields.finish(reader);
        let mut event = event?;
        let with = event.need("with");
        event.finish(reader);
        let with = with?;
        let attributes = attributes(reader, with, "`with`")?;
        if with.get("type").is_none() {
            let help = "add `type:`, for instance `type: com.example.order.placed`";
            reader.error("missing-key", with.span, &with.at, "`with` of an event needs `type`", help);
            return None;
        }
        // an endpoint with mistakes must not become none
        (given.is_some() == endpoint.is_some()).then_some(Self { with: attributes, endpoint })
    }
}
