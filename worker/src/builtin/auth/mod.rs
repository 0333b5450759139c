//! Authentication of calls: every policy of the standard. The secrets in it are values by the time a policy gets here.

mod digest;
mod grant;
mod oauth2;
mod token;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

pub(super) use digest::answer;
pub(super) use oauth2::OAuth2;
pub(super) use token::{Got, Tokens};

use crate::failure::Failure;

/// `authentication:` of an endpoint.
#[derive(Clone)]
pub(crate) enum Authentication {
    /// Name and password with each request.
    Basic(Login),
    /// A token that is known beforehand.
    Bearer(Bearer),
    /// Name and password, proven against a challenge.
    Digest(Login),
    /// A token that an authority gives.
    OAuth2(Box<OAuth2>),
    /// The same, with the authority's own description of where to ask.
    Oidc(Box<OAuth2>),
}

/// Who calls.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// A token.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bearer {
    pub(super) token: String,
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rest is nobody's business.
        f.write_str(match self {
            Self::Basic(_) => "Basic(..)",
            Self::Bearer(_) => "Bearer(..)",
            Self::Digest(_) => "Digest(..)",
            Self::OAuth2(_) => "OAuth2(..)",
            Self::Oidc(_) => "Oidc(..)",
        })
    }
}

impl<'de> Deserialize<'de> for Authentication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kinds = serde_json::Map::<String, Value>::deserialize(deserializer)?;
        let mut kinds = kinds.into_iter();
        let (Some((kind, body)), None) = (kinds.next(), kinds.next()) else {
            return Err(Error::custom("an authentication policy has exactly one kind"));
        };
        match kind.as_str() {
            "basic" => policy(&kind, body).map(Self::Basic),
            "bearer" => bearer(body).map(Self::Bearer),
            "digest" => policy(&kind, body).map(Self::Digest),
            "oauth2" => policy(&kind, body).map(Self::OAuth2),
            "oidc" => policy(&kind, body).map(Self::Oidc),
            other => Err(format!("authentication `{other}` is not known; use basic, bearer, digest, oauth2 or oidc")),
        }
        .map_err(Error::custom)
    }
}

/// A policy in place, or the text of a secret that holds it as JSON.
fn policy<T: DeserializeOwned>(kind: &str, body: Value) -> Result<T, String> {
    match body {
        Value::String(secret) => serde_json::from_str(&secret).map_err(|e| {
            // What the reader found there is part of the secret.
            let (line, column) = (e.line(), e.column());
            format!("the secret of policy `{kind}` is no JSON object with its fields (line {line}, column {column})")
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::from_value(body).map_err(|e| format!("policy `{kind}`: {e}"))
        }
    }
}

/// As [`policy`]; a secret may be the token itself.
fn bearer(body: Value) -> Result<Bearer, String> {
    if let Value::String(secret) = &body
        && !secret.trim_start().starts_with('{')
    {
        return Ok(Bearer { token: secret.trim().to_owned() });
    }
    policy("bearer", body)
}

/// The header that carries a credential, never shown when the request is printed.
pub(super) fn header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let text = "the credentials hold characters that no header can have; correct `authentication`";
        Failure::new(Problem::standard(Standard::Configuration, text), false)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header for name and password.
pub(super) fn basic(login: &Login) -> Result<HeaderValue, Failure> {
    header(&format!("Basic {}", encoded(&login.username, &login.password)))
}

/// Takes name and password out of a URL; none where there are none.
pub(super) fn login_in(url: &mut Url) -> Option<Login> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = Login { username: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) };
    // A URL that can be called has a host, so that these cannot fail.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    Some(login)
}

/// The header for a token.
pub(super) fn bearer_header(token: &str) -> Result<HeaderValue, Failure> {
    header(&format!("Bearer {token}"))
}

fn encoded(name: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"))
}

/// All values of a header that may come more than once.
fn values<'h>(headers: &'h HeaderMap, name: &reqwest::header::HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Authentication, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn policies_come_in_place_and_as_whole_secrets() {
        let secret = "{\"username\":\"ann\",\"password\":\"s3cret\"}";
        for policy in [json!({"username": "ann", "password": "s3cret"}), json!(secret)] {
            let Authentication::Digest(login) = read(json!({ "digest": policy })).unwrap() else { panic!("no digest") };
            assert_eq!((login.username.as_str(), login.password.as_str()), ("ann", "s3cret"));
        }
        for policy in [json!({"token": "t0p"}), json!("t0p\n"), json!("{\"token\":\"t0p\"}")] {
            let Authentication::Bearer(bearer) = read(json!({ "bearer": policy })).unwrap() else {
                panic!("no bearer")
            };
            assert_eq!(bearer.token, "t0p");
        }
    }

    #[test]
    fn mistakes_are_told_and_secrets_are_not() {
        for (policy, expected) in [
            (json!({ "basic": {"username": "ann"} }), "missing field `password`"),
            (json!({ "basic": "[\"hunter2\"]" }), "the secret of policy `basic`"),
            (json!({ "oauth2": "{\"grant\":\"hunter2\"}" }), "the secret of policy `oauth2`"),
            (json!({ "certificate": {} }), "`certificate` is not known"),
            (json!({ "basic": {}, "bearer": {} }), "exactly one kind"),
        ] {
            let said = read(policy).unwrap_err();
            assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
        }
        let shown = format!("{:?}", read(json!({ "bearer": "hunter2" })).unwrap());
        assert_eq!(shown, "Bearer(..)");
    }
}
