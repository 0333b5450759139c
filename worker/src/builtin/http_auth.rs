//! Authentication of HTTP calls: the policies that need no conversation with a third party.

use reqwest::RequestBuilder;
use serde::Deserialize;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use crate::failure::Failure;

/// `authentication:` of an endpoint. The secrets in it are values by now.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authentication {
    basic: Option<Basic>,
    bearer: Option<Bearer>,
    digest: Option<serde::de::IgnoredAny>,
    oauth2: Option<serde::de::IgnoredAny>,
    oidc: Option<serde::de::IgnoredAny>,
    certificate: Option<serde::de::IgnoredAny>,
    #[serde(rename = "use")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Basic {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bearer {
    token: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("username", &self.username).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// Adds the credentials to a request.
pub(super) fn apply(auth: &Authentication, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
    if let Some(Basic { username, password }) = &auth.basic {
        return Ok(request.basic_auth(username, Some(password)));
    }
    if let Some(Bearer { token }) = &auth.bearer {
        return Ok(request.bearer_auth(token));
    }
    let found = [
        ("digest", auth.digest.is_some()),
        ("oauth2", auth.oauth2.is_some()),
        ("oidc", auth.oidc.is_some()),
        ("certificate", auth.certificate.is_some()),
        ("use", auth.name.is_some()),
    ];
    match found.iter().find(|(_, set)| *set) {
        None => Ok(request),
        Some((policy, _)) => {
            let text = format!("authentication `{policy}` is not supported by step `http`; use `basic` or `bearer`");
            Err(Failure::new(Problem::standard(Standard::Configuration, text), false))
        }
    }
}
