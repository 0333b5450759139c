//! What reaches outside: the input of the steps `http`, `openapi`, `mcp`, `script` and `shell`.

use std::sync::Arc;

use serde_json::Value;
use stepmill_protocol::{PoolName, StepKind};

use super::Compiler;
use super::call::Hints;
use super::policy::all;
use super::value::object;
use crate::expression::Expression;
use crate::model::authentication::{Authentication, AuthenticationRef, Body, Part};
use crate::model::call::Http;
use crate::model::endpoint::Endpoint;
use crate::model::expression_inside;
use crate::model::mcp::{Mcp, Transport};
use crate::model::openapi::OpenApi;
use crate::model::process::{Code, Process};
use crate::model::reader::Text;
use crate::plan::{Call, DurationSpec, NodeKind, Template};
use crate::tree::Tree;

impl<'a, 't> Compiler<'a, 't> {
    pub(super) fn http(&mut self, http: &'a Http<'t>) -> Option<Template> {
        let method = http.method.map(|t| self.template(t, false));
        let endpoint = http.endpoint.as_ref().map(|e| self.endpoint(e));
        let rest = self.parts(&http.rest);
        let mut parts = vec![("method".to_owned(), method??), ("endpoint".to_owned(), endpoint??)];
        parts.extend(rest?);
        Some(object(parts))
    }

    pub(super) fn openapi(&mut self, openapi: &'a OpenApi<'t>) -> Option<Template> {
        let document = openapi.document.as_ref().map(|e| self.endpoint(e));
        let authentication = openapi.authentication.as_ref().map(|a| self.policy(a));
        let rest = self.parts(&openapi.rest);
        let mut parts = vec![("document".to_owned(), document??)];
        parts.extend(all(authentication)?.map(|policy| ("authentication".to_owned(), policy)));
        parts.extend(rest?);
        Some(object(parts))
    }

    pub(super) fn mcp(&mut self, mcp: &'a Mcp<'t>) -> Option<Template> {
        let rest = self.parts(&mcp.rest);
        let timeout = mcp.timeout.map(|t| self.constant_millis(t));
        let transport = mcp.transport.as_ref().map(|transport| match transport {
            Transport::Stdio(stdio) => Some(object(vec![("stdio".into(), self.template(stdio, false)?)])),
            Transport::Http { endpoint, headers } => {
                self.check_mcp_policy(endpoint)?;
                let endpoint = self.endpoint(endpoint);
                let headers = headers.map(|t| self.template(t, false));
                let mut parts = vec![("endpoint".to_owned(), endpoint?)];
                parts.extend(all(headers)?.map(|headers| ("headers".to_owned(), headers)));
                Some(object(vec![("http".into(), object(parts))]))
            }
        });
        let mut parts = rest?;
        parts.extend(all(timeout)?.map(|ms| ("timeout".to_owned(), ms)));
        parts.push(("transport".to_owned(), transport??));
        Some(object(parts))
    }

    /// Digest authentication answers a challenge per request; the MCP client sends several of its own.
    fn check_mcp_policy(&self, endpoint: &Endpoint<'t>) -> Option<()> {
        let policy = match endpoint.authentication.as_ref() {
            Some(AuthenticationRef::Inline(policy)) => Some(policy),
            // An unknown name is told where the endpoint is read.
            Some(AuthenticationRef::Named(name)) => self.uses.authentications.get(&*name.text).and_then(Option::as_ref),
            None => None,
        };
        if policy.is_some_and(|policy| policy.kind == "digest") {
            let at = &endpoint.uri;
            self.reader.unsupported("digest authentication of an MCP server; use another policy", at.span, &at.at);
            return None;
        }
        Some(())
    }

    pub(super) fn process(&mut self, process: &'a Process<'t>, hints: Hints) -> Option<NodeKind> {
        let code = match &process.code {
            Code::Inline(key, tree) => Some(((*key).to_owned(), self.code(tree)?)),
            Code::Source(endpoint) => self.endpoint(endpoint).map(|e| ("source".to_owned(), e)),
        };
        let rest = self.parts(&process.rest);
        let returns = process.ending.returns.map(|t| self.template(t, false));
        let mut parts = vec![code?];
        parts.extend(rest?);
        parts.extend(all(returns)?.map(|returns| ("return".to_owned(), returns)));
        if !process.ending.awaited {
            // a process that nobody waits for passes the task's input on
            parts.push(("passOn".to_owned(), Template::Expr(Expression::compile(".", &[]).ok()?)));
        }
        Some(NodeKind::Call(Box::new(Call {
            kind: StepKind::new(process.kind).ok()?,
            with: Some(object(parts)),
            pool: hints.pool.or_else(|| PoolName::new("default").ok())?,
            priority: hints.priority,
            broker_retry: None,
            emits: false,
            system: None,
        })))
    }

    fn parts(&mut self, parts: &[(&'static str, &Tree)]) -> Option<Vec<(String, Template)>> {
        // all of them are compiled before one of them may end it, so that all mistakes are seen
        let parts: Vec<_> = parts.iter().map(|(k, t)| Some(((*k).to_owned(), self.template(t, false)?))).collect();
        parts.into_iter().collect()
    }

    /// Code is text unless the whole of it is an expression; what shells and languages write as `${name}` is no mistake.
    fn code(&mut self, tree: &Tree) -> Option<Template> {
        let text = self.reader.text(tree, "the code")?;
        let begin = [' ', '\n', '.', '$', '"', '('];
        if expression_inside(&text.text).is_some_and(|inside| inside.starts_with(begin)) {
            return self.template(tree, false);
        }
        if ["${ ", "${.", "${$"].iter().any(|mark| text.text.contains(mark)) {
            let help =
                "an expression is the whole text: `${ \"echo \\(.name | @sh)\" }`; or hand values over in `arguments`";
            self.reader.warn("text", text.span, &text.at, "`${` inside of code is not evaluated", help);
        }
        Some(Template::Const(Arc::new(Value::String(text.text.to_string()))))
    }

    /// A duration in milliseconds, for a worker.
    fn constant_millis(&mut self, tree: &Tree) -> Option<Template> {
        match self.duration(tree)? {
            DurationSpec::Const(ms) => Some(Template::Const(Arc::new(Value::from(ms.0)))),
            DurationSpec::Template(_) => {
                let feature = "an expression as the timeout of a call; use the task's own `timeout`";
                self.reader.unsupported(feature, tree.span, &tree.at);
                None
            }
        }
    }

    pub(super) fn endpoint(&mut self, endpoint: &'a Endpoint<'t>) -> Option<Template> {
        let uri = self.uri(&endpoint.uri);
        let authentication = endpoint.authentication.as_ref().map(|a| self.policy(a));
        match all(authentication)? {
            None => uri,
            Some(policy) => Some(object(vec![("uri".into(), uri?), ("authentication".into(), policy)])),
        }
    }

    fn policy(&mut self, authentication: &'a AuthenticationRef<'t>) -> Option<Template> {
        match authentication {
            AuthenticationRef::Inline(policy) => self.authentication(policy),
            AuthenticationRef::Named(name) => {
                let uses = self.uses;
                let found = uses.authentications.get(&*name.text);
                let found =
                    self.named(name, "authentication policy", "authentications", found, uses.authentications.keys());
                found.and_then(|policy| self.authentication(policy))
            }
        }
    }

    pub(super) fn authentication(&mut self, policy: &Authentication<'t>) -> Option<Template> {
        let body = match &policy.body {
            Body::Secret(name) => self.whole_secret(name)?,
            Body::Fields(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(key, part)| {
                        let value = match part {
                            Part::Value(tree) => self.template(tree, false)?,
                            Part::Uri(text) => self.uri(text)?,
                            Part::Uris(uris) => {
                                let uris: Vec<_> =
                                    uris.iter().map(|(k, t)| Some(((*k).to_owned(), self.uri(t)?))).collect();
                                object(uris.into_iter().collect::<Option<_>>()?)
                            }
                        };
                        Some(((*key).to_owned(), value))
                    })
                    .collect();
                object(fields.into_iter().collect::<Option<_>>()?)
            }
        };
        Some(object(vec![(policy.kind.to_owned(), body)]))
    }

    /// The reference to a secret that holds a whole policy, as JSON text.
    fn whole_secret(&mut self, name: &Text) -> Option<Template> {
        if !self.uses.secrets.iter().any(|s| s.text == name.text) {
            let message = format!("the secret `{}` is not declared", name.text);
            let help = format!("add `{}` to `use.secrets`", name.text);
            self.reader.error("unknown-reference", name.span, &name.at, message, help);
            return None;
        }
        let path = format!("$secrets[{}]", Value::from(&*name.text));
        Expression::compile(&path, &["secrets"]).ok().map(Template::Expr)
    }

    /// A URI: an expression, or a template whose `{names}` are fields of the task's input.
    pub(super) fn uri(&mut self, text: &Text) -> Option<Template> {
        if expression_inside(&text.text).is_some() {
            return self.bare(text).map(Template::Expr);
        }
        match Expression::uri_template(&text.text) {
            Ok(Some(expression)) => Some(Template::Expr(expression)),
            Ok(None) => Some(Template::Const(Arc::new(Value::String(text.text.to_string())))),
            Err(mistake) => {
                self.reader.error(mistake.code, text.span, &text.at, mistake.message, mistake.help);
                None
            }
        }
    }
}
