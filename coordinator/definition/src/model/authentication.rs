//! Authentication policies: every kind of the standard, in place, by the name of one of `use.authentications`, or as a
//! whole secret.

use super::endpoint::template_uri;
use super::reader::{Fields, Reader, Text};
use crate::tree::{Kind, Tree};

/// An authentication policy in place, or the name of one of `use.authentications`.
pub(crate) enum AuthenticationRef<'t> {
    Inline(Authentication<'t>),
    Named(Text),
}

/// A policy: its kind and what it holds.
#[derive(Clone)]
pub(crate) struct Authentication<'t> {
    pub(crate) kind: &'static str,
    pub(crate) body: Body<'t>,
}

/// What a policy holds.
#[derive(Clone)]
pub(crate) enum Body<'t> {
    /// The name of a secret that holds all of it.
    Secret(Text),
    /// Its fields.
    Fields(Vec<(&'static str, Part<'t>)>),
}

/// A field of a policy.
#[derive(Clone)]
pub(crate) enum Part<'t> {
    /// A value with expressions in it.
    Value(&'t Tree),
    /// A URI with places to fill.
    Uri(Text),
    /// Several of them.
    Uris(Vec<(&'static str, Text)>),
}

/// The kinds of policies.
const KINDS: [&str; 5] = ["basic", "bearer", "digest", "oauth2", "oidc"];
/// The standard's grants.
const GRANTS: [&str; 5] = [
    "authorization_code",
    "client_credentials",
    "password",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];
/// The ways in which a client shows who it is.
const CLIENT_KINDS: [&str; 5] =
    ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"];
const ENCODINGS: [&str; 2] = ["application/x-www-form-urlencoded", "application/json"];

impl<'t> AuthenticationRef<'t> {
    pub(crate) fn read(reader: &Reader<'_>, tree: &'t Tree) -> Option<Self> {
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
        let given: Vec<(&'static str, &'t Tree)> =
            KINDS.iter().filter_map(|kind| fields.take(kind).map(|t| (*kind, t))).collect();
        fields.finish(reader);
        match given.as_slice() {
            [(kind, body)] => Some(Self { kind, body: read_body(reader, kind, body)? }),
            [] => {
                let help = format!("give it one of {}", KINDS.join(", "));
                reader.error("missing-key", tree.span, &tree.at, "the authentication policy has no kind", help);
                None
            }
            [_, (_, second), ..] => {
                let message = "an authentication policy has one kind";
                reader.error("wrong-type", second.span, &second.at, message, "remove the other");
                None
            }
        }
    }
}

fn read_body<'t>(reader: &Reader<'_>, kind: &'static str, tree: &'t Tree) -> Option<Body<'t>> {
    let mut fields = reader.object(tree, "an authentication policy")?;
    if let Some(secret) = fields.take("use") {
        fields.finish(reader);
        return reader.text(secret, "`use`").map(Body::Secret);
    }
    let parts = match kind {
        "basic" | "digest" => texts(reader, &mut fields, &["username", "password"]),
        "bearer" => texts(reader, &mut fields, &["token"]),
        _ => tokens(reader, &mut fields, kind),
    };
    fields.finish(reader);
    Some(Body::Fields(parts))
}

/// Texts that must be there.
fn texts<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, keys: &[&'static str]) -> Vec<(&'static str, Part<'t>)> {
    let mut found = Vec::new();
    for key in keys {
        if let Some(value) = fields.need(key)
            && reader.text(value, "a part of an authentication policy").is_some()
        {
            found.push((*key, Part::Value(value)));
        }
    }
    found
}

/// The fields of `oauth2` and `oidc`.
fn tokens<'t>(reader: &Reader<'_>, fields: &mut Fields<'t>, kind: &str) -> Vec<(&'static str, Part<'t>)> {
    let mut parts = Vec::new();
    if let Some(authority) = fields.need("authority").and_then(|t| template_uri(reader, t, "the authority")) {
        parts.push(("authority", Part::Uri(authority)));
    }
    let grant = fields.need("grant");
    if let Some(grant) = grant.filter(|t| one_of(reader, t, "grant", &GRANTS)) {
        parts.push(("grant", Part::Value(grant)));
    }
    if kind == "oauth2"
        && let Some(mut endpoints) = fields.take("endpoints").and_then(|t| reader.object(t, "`endpoints`"))
    {
        let mut uris = Vec::new();
        for key in ["token", "revocation", "introspection"] {
            let uri = endpoints.take(key).and_then(|t| template_uri(reader, t, "the endpoint"));
            uris.extend(uri.map(|u| (key, u)));
        }
        endpoints.finish(reader);
        parts.push(("endpoints", Part::Uris(uris)));
    }
    if let Some(client) = fields.take("client").filter(|t| client(reader, t)) {
        parts.push(("client", Part::Value(client)));
    }
    if let Some(request) = fields.take("request")
        && let Some(mut inside) = reader.object(request, "`request`")
    {
        if inside.take("encoding").is_none_or(|t| one_of(reader, t, "encoding", &ENCODINGS)) {
            parts.push(("request", Part::Value(request)));
        }
        inside.finish(reader);
    }
    for key in ["issuers", "scopes", "audiences"] {
        if let Some(list) = fields.take(key).filter(|t| text_list(reader, t, key)) {
            parts.push((key, Part::Value(list)));
        }
    }
    for key in ["username", "password"] {
        if let Some(value) = fields.take(key).filter(|t| reader.text(t, &format!("`{key}`")).is_some()) {
            parts.push((key, Part::Value(value)));
        }
    }
    for key in ["subject", "actor"] {
        if let Some(tree) = fields.take(key)
            && let Some(mut token) = reader.object(tree, "a token")
        {
            if texts(reader, &mut token, &["token", "type"]).len() == 2 {
                parts.push((key, Part::Value(tree)));
            }
            token.finish(reader);
        }
    }
    needed(reader, fields.tree, grant);
    parts
}

fn client(reader: &Reader<'_>, tree: &Tree) -> bool {
    let Some(mut fields) = reader.object(tree, "`client`") else { return false };
    let mut fine = true;
    for key in ["id", "secret", "assertion"] {
        fine &= fields.take(key).is_none_or(|t| reader.text(t, &format!("`{key}`")).is_some());
    }
    fine &= fields.take("authentication").is_none_or(|t| one_of(reader, t, "authentication", &CLIENT_KINDS));
    fields.finish(reader);
    fine
}

/// What a grant and a client's way of showing who it is need beside them; the schema asks for none of it.
fn needed(reader: &Reader<'_>, tree: &Tree, grant: Option<&Tree>) {
    let text = |tree: Option<&Tree>| match tree.map(|t| &t.kind) {
        Some(Kind::Text(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let missing = |why: &str, key: &str| {
        let message = format!("{why} needs `{key}`");
        reader.error("authentication", tree.span, &tree.at, message, format!("add `{key}`"));
    };
    if let Some(name) = text(grant) {
        let keys: &[&str] = match &*name {
            "client_credentials" => &["client"],
            "password" => &["username", "password"],
            "authorization_code" | "refresh_token" | "urn:ietf:params:oauth:grant-type:token-exchange" => &["subject"],
            _ => &[],
        };
        keys.iter().filter(|key| tree.get(key).is_none()).for_each(|key| missing(&format!("the grant `{name}`"), key));
    }
    let Some(client) = tree.get("client") else { return };
    let way = text(client.get("authentication"));
    let keys: &[&str] = match way.as_deref() {
        Some("client_secret_basic" | "client_secret_jwt") => &["id", "secret"],
        Some("private_key_jwt") => &["id", "assertion"],
        Some("none") => &[],
        Some(_) | None => &["id"],
    };
    for key in keys.iter().filter(|key| client.get(key).is_none()) {
        missing(
            &format!("the client authentication `{}`", way.as_deref().unwrap_or("client_secret_post")),
            &format!("client.{key}"),
        );
    }
}

/// Whether a text is one of those.
pub(crate) fn one_of(reader: &Reader<'_>, tree: &Tree, key: &str, known: &[&str]) -> bool {
    let Some(text) = reader.text(tree, &format!("`{key}`")) else { return false };
    let fine = known.contains(&&*text.text);
    if !fine {
        let message = format!("`{key}` cannot be `{}`", text.text);
        reader.error("wrong-value", text.span, &text.at, message, format!("use {}", known.join(", ")));
    }
    fine
}

/// Whether a value is a list of texts.
pub(crate) fn text_list(reader: &Reader<'_>, tree: &Tree, key: &str) -> bool {
    let Some(items) = reader.list(tree, &format!("`{key}`")) else { return false };
    items.iter().filter(|item| reader.text(item, &format!("an item of `{key}`")).is_none()).count() == 0
}
