//! The arguments of `call: mcp`.

use super::authentication::{one_of, text_list};
use super::call::texts;
use super::endpoint::Endpoint;
use super::policy::duration;
use super::reader::Reader;
use crate::tree::{Kind, Tree};

/// `with` of `call: mcp`.
pub(crate) struct Mcp<'t> {
    pub(crate) transport: Option<Transport<'t>>,
    pub(crate) timeout: Option<&'t Tree>,
    /// Handed to the worker as they are: protocolVersion, method, parameters, client.
    pub(crate) rest: Vec<(&'static str, &'t Tree)>,
}

/// How the server is reached.
pub(crate) enum Transport<'t> {
    Http { endpoint: Endpoint<'t>, headers: Option<&'t Tree> },
    Stdio(&'t Tree),
}

const METHODS: [&str; 7] = [
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
];

impl<'t> Mcp<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`with` of `call: mcp`")?;
        let mut rest = Vec::new();
        if let Some(version) = fields.take("protocolVersion").filter(|t| reader.text(t, "`protocolVersion`").is_some())
        {
            rest.push(("protocolVersion", version));
        }
        if let Some(method) = fields.need("method").filter(|t| one_of(reader, t, "method", &METHODS)) {
            rest.push(("method", method));
        }
        if let Some(parameters) = fields.take("parameters").filter(|t| object_or_text(reader, t)) {
            rest.push(("parameters", parameters));
        }
        let timeout = fields.take("timeout").filter(|t| duration(reader, t, "`timeout`"));
        let transport = fields.need("transport").and_then(|t| Transport::read(reader, t));
        if let Some(client) = fields.take("client")
            && let Some(mut about) = reader.object(client, "`client`")
        {
            for key in ["name", "version"] {
                if let Some(text) = about.need(key) {
                    reader.text(text, &format!("`{key}`"));
                }
            }
            about.finish(reader);
            rest.push(("client", client));
        }
        fields.finish(reader);
        Some(Self { transport, timeout, rest })
    }
}

fn object_or_text(reader: &Reader<'_>, tree: &Tree) -> bool {
    let fine = matches!(tree.kind, Kind::Map(_) | Kind::Text(_));
    if !fine {
        let message = format!("`parameters` must be an object or an expression, not {}", tree.noun());
        reader.error("wrong-type", tree.span, &tree.at, message, "write `name: value` lines, or `${ … }`");
    }
    fine
}

impl<'t> Transport<'t> {
    fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
        let mut fields = reader.object(tree, "`transport`")?;
        let (http, stdio) = (fields.take("http"), fields.take("stdio"));
        if let Some(options) = fields.take("options") {
            texts(reader, options, "options");
        }
        fields.finish(reader);
        match (http, stdio) {
            (Some(http), None) => read_http(reader, http),
            (None, Some(stdio)) => read_stdio(reader, stdio).then_some(Self::Stdio(stdio)),
            (Some(_), Some(second)) => {
                let message = "`transport` has both `http` and `stdio`";
                reader.error("two-in-one", second.span, &second.at, message, "remove one of them");
                None
            }
            (None, None) => {
                let help = "add `http:` with an endpoint, or `stdio:` with a command";
                reader.error("missing-key", tree.span, &tree.at, "`transport` needs `http` or `stdio`", help);
                None
            }
        }
    }
}

fn read_http<'t>(reader: &Reader<'_>, tree: &'t Tree) -> Option<Transport<'t>> {
    let mut fields = reader.object(tree, "`http`")?;
    let endpoint = fields.need("endpoint").and_then(|t| Endpoint::read(reader, t));
    let headers = fields.take("headers").filter(|t| {
        let is_object = reader.object(t, "`headers`").is_some();
        is_object && texts(reader, t, "headers")
    });
    fields.finish(reader);
    Some(Transport::Http { endpoint: endpoint?, headers })
}

fn read_stdio(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Some(mut fields) = reader.object(tree, "`stdio`") else { return false };
    let mut fine = fields.need("command").is_some_and(|t| reader.text(t, "`command`").is_some());
    fine &= fields.take("arguments").is_none_or(|t| text_list(reader, t, "arguments"));
    fine &= fields.take("environment").is_none_or(|t| {
        let is_object = reader.object(t, "`environment`").is_some();
        is_object && texts(reader, t, "environment")
    });
    fields.finish(reader);
    fine
}
