//! What `oauth2` and `oidc` say.

use serde::{Deserialize, Serialize};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use crate::failure::Failure;

/// The configuration of a token: whom to ask, and for what.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuth2 {
    authority: String,
    #[serde(default)]
    endpoints: Endpoints,
    pub(super) grant: Grant,
    #[serde(default)]
    pub(super) client: Client,
    #[serde(default)]
    pub(super) request: TokenRequest,
    #[serde(default)]
    pub(super) issuers: Vec<String>,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) audiences: Vec<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) subject: Option<Token>,
    pub(super) actor: Option<Token>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Endpoints {
    token: Option<String>,
    revocation: Option<String>,
    introspection: Option<String>,
}

/// The standard's grants.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grant {
    AuthorizationCode,
    ClientCredentials,
    Password,
    RefreshToken,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

impl Grant {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

/// Who asks.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) id: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) assertion: Option<String>,
    #[serde(default)]
    pub(super) authentication: ClientAuthentication,
}

/// How a client shows who it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAuthentication {
    ClientSecretBasic,
    #[default]
    ClientSecretPost,
    ClientSecretJwt,
    PrivateKeyJwt,
    None,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    #[serde(default)]
    pub(super) encoding: Encoding,
}

/// How a token request is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Encoding {
    #[default]
    #[serde(rename = "application/x-www-form-urlencoded")]
    Form,
    #[serde(rename = "application/json")]
    Json,
}

/// A token that stands for somebody.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) token: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl OAuth2 {
    /// Where tokens are asked for, without asking the authority where that is.
    pub(super) fn token_endpoint(&self) -> String {
        joined(&self.authority, self.endpoints.token.as_deref().unwrap_or("/oauth2/token"))
    }

    /// Where an OpenID provider describes itself.
    pub(super) fn discovery(&self) -> String {
        const PATH: &str = "/.well-known/openid-configuration";
        let authority = self.authority.trim_end_matches('/');
        if authority.ends_with(PATH) { authority.to_owned() } else { format!("{authority}{PATH}") }
    }
}

/// An endpoint is a path below the authority, or a full URL.
fn joined(authority: &str, endpoint: &str) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    format!("{}/{}", authority.trim_end_matches('/'), endpoint.trim_start_matches('/'))
}

/// A policy that cannot work whatever the authority says.
pub(super) fn incomplete(what: &str) -> Failure {
    let text = format!("the authentication policy lacks {what}; add it");
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_are_below_the_authority() {
        let at = |authority: &str, endpoints: serde_json::Value| {
            let policy = json!({ "authority": authority, "grant": "client_credentials", "endpoints": endpoints });
            let policy: OAuth2 = serde_json::from_value(policy).unwrap();
            (policy.token_endpoint(), policy.discovery())
        };
        let wells = |base: &str| format!("{base}/.well-known/openid-configuration");
        assert_eq!(at("http://a/r/", json!({})), ("http://a/r/oauth2/token".into(), wells("http://a/r")));
        assert_eq!(at("http://a", json!({"token": "/t"})).0, "http://a/t");
        assert_eq!(at("http://a", json!({"token": "https://b/t"})).0, "https://b/t");
        assert_eq!(at(&wells("http://a"), json!({})).1, wells("http://a"));
    }
}
