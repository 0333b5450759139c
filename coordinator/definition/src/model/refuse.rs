//! What the standard has and Stepmill leaves out on purpose, each with what to use instead.

use super::reader::Reader;
use crate::tree::{Pointer, Span};

/// A feature and what to use instead of it.
pub(crate) struct LeftOut {
    feature: &'static str,
    instead: &'static str,
}

const GRPC: LeftOut = LeftOut {
    feature: "`call: grpc`",
    instead: "use `call: http` or `call: openapi`, or register a step of your own that makes the call",
};
const ASYNCAPI: LeftOut = LeftOut {
    feature: "`call: asyncapi`",
    instead: "use `emit` and `listen`, or register a step of your own that publishes the message",
};
const A2A: LeftOut =
    LeftOut { feature: "`call: a2a`", instead: "use `call: http` with the method's JSON-RPC body, or `call: mcp`" };
/// `run: container`.
pub(crate) const CONTAINER: LeftOut = LeftOut {
    feature: "`run: container`",
    instead: "use `run: shell` or `run: script` in a pool whose workers run inside that image, or register a step of your own",
};
/// `use.catalogs`.
pub(crate) const CATALOGS: LeftOut =
    LeftOut { feature: "`use.catalogs`", instead: "write the functions into `use.functions`" };
/// A call that names a function of a catalog.
pub(crate) const CATALOG_FUNCTION: LeftOut = LeftOut {
    feature: "functions of catalogs",
    instead: "write the function into `use.functions` and call it by its name there",
};

/// The call of the standard that is left out under this name.
pub(crate) fn call(name: &str) -> Option<&'static LeftOut> {
    match name {
        "grpc" => Some(&GRPC),
        "asyncapi" => Some(&ASYNCAPI),
        "a2a" => Some(&A2A),
        _ => None,
    }
}

impl Reader<'_> {
    /// The standard has it, we leave it out.
    pub(crate) fn left_out(&self, what: &LeftOut, span: Span, at: &Pointer) {
        self.error("unsupported", span, at, format!("not supported: {}", what.feature), what.instead);
    }
}
