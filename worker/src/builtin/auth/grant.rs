//! One token request: what is sent for a grant, and what the authority's answer means.

use jsonwebtoken::{Algorithm, EncodingKey, Header, dangerous, encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client as HttpClient, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::encoded;
use super::header;
use super::oauth2::{ClientAuthentication, Encoding, Grant, OAuth2, Token, incomplete};
use crate::context::quote;
use crate::failure::Failure;
use crate::{clock, limit, net};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an authority gave.
#[derive(Deserialize)]
pub(super) struct Given {
    pub(super) access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    /// Some authorities write the number as text.
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
}

impl Given {
    /// Seconds until it expires.
    pub(super) fn expires_in(&self) -> Option<u64> {
        let said = self.expires_in.as_ref()?;
        said.as_u64().or_else(|| said.as_str()?.parse().ok())
    }
}

/// Asks for a token, by the policy's grant or with a refresh token that was given with the last one.
pub(super) async fn ask(
    http: &HttpClient,
    policy: &OAuth2,
    endpoint: &str,
    refresh: Option<&str>,
) -> Result<Given, Failure> {
    let mut fields = match refresh {
        Some(token) => {
            vec![("grant_type", Grant::RefreshToken.as_str().to_owned()), ("refresh_token", token.to_owned())]
        }
        None => grant_fields(policy)?,
    };
    if !policy.scopes.is_empty() {
        fields.push(("scope", policy.scopes.join(" ")));
    }
    fields.extend(policy.audiences.iter().map(|audience| ("audience", audience.clone())));
    let what = format!("the token request to {endpoint}");
    let request = http.post(endpoint).header(ACCEPT, HeaderValue::from_static("application/json"));
    let request = show_client(policy, endpoint, request, &mut fields)?;
    let request = match policy.request.encoding {
        Encoding::Form => request.form(&fields),
        Encoding::Json => request.json(&as_object(fields)),
    };
    let mut response = request.send().await.map_err(|e| net::broken(&what, e))?;
    let status = response.status();
    if !status.is_success() {
        let headers = response.headers().clone();
        let body = net::read_body(&mut response, &what).await.unwrap_or_default();
        return Err(refused(&what, status, &headers, &body));
    }
    let body = net::read_body(&mut response, &what).await?;
    let given: Given = serde_json::from_slice(&body).map_err(|_| {
        let text = format!("{what} brought no JSON object with `access_token`");
        Failure::new(Problem::standard(Standard::Communication, text), false)
    })?;
    check(policy, &given)?;
    Ok(given)
}

fn grant_fields(policy: &OAuth2) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut fields = vec![("grant_type", policy.grant.as_str().to_owned())];
    let subject = || policy.subject.as_ref().ok_or_else(|| incomplete("`subject`"));
    match policy.grant {
        Grant::ClientCredentials => {}
        Grant::Password => {
            fields.push(("username", policy.username.clone().ok_or_else(|| incomplete("`username`"))?));
            fields.push(("password", policy.password.clone().ok_or_else(|| incomplete("`password`"))?));
        }
        Grant::AuthorizationCode => fields.push(("code", subject()?.token.clone())),
        Grant::RefreshToken => fields.push(("refresh_token", subject()?.token.clone())),
        Grant::TokenExchange => {
            let Token { token, kind } = subject()?.clone();
            fields.extend([("subject_token", token), ("subject_token_type", kind)]);
            if let Some(Token { token, kind }) = policy.actor.clone() {
                fields.extend([("actor_token", token), ("actor_token_type", kind)]);
            }
        }
    }
    Ok(fields)
}

/// Adds what shows who the client is.
fn show_client(
    policy: &OAuth2,
    endpoint: &str,
    request: RequestBuilder,
    fields: &mut Vec<(&'static str, String)>,
) -> Result<RequestBuilder, Failure> {
    let client = &policy.client;
    let id = || client.id.clone().ok_or_else(|| incomplete("`client.id`"));
    let secret = || client.secret.clone().ok_or_else(|| incomplete("`client.secret`"));
    let asserted = |fields: &mut Vec<(&'static str, String)>, id: String, assertion: String| {
        fields.extend([
            ("client_id", id),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", assertion),
        ]);
    };
    match client.authentication {
        ClientAuthentication::ClientSecretBasic => {
            let value = format!("Basic {}", encoded(&form_text(&id()?), &form_text(&secret()?)));
            return Ok(request.header(AUTHORIZATION, header(&value)?));
        }
        ClientAuthentication::ClientSecretPost | ClientAuthentication::None => {
            fields.extend(client.id.clone().map(|id| ("client_id", id)));
            if client.authentication == ClientAuthentication::ClientSecretPost {
                fields.extend(client.secret.clone().map(|secret| ("client_secret", secret)));
            }
        }
        ClientAuthentication::ClientSecretJwt => asserted(fields, id()?, signed(&id()?, &secret()?, endpoint)?),
        ClientAuthentication::PrivateKeyJwt => {
            let assertion = client.assertion.clone().ok_or_else(|| incomplete("`client.assertion`"))?;
            asserted(fields, id()?, assertion);
        }
    }
    Ok(request)
}

/// RFC 6749 wants both parts of a client's basic authentication encoded as in forms.
fn form_text(text: &str) -> String {
    reqwest::Url::parse_with_params("http://x/", [("", text)])
        .ok()
        .and_then(|url| url.query().and_then(|query| query.strip_prefix('=')).map(str::to_owned))
        .unwrap_or_default()
}

/// A short-lived assertion of the client, signed with its secret (RFC 7523, as OpenID Connect uses it).
fn signed(id: &str, secret: &str, endpoint: &str) -> Result<String, Failure> {
    let now = clock::now().0 / 1_000;
    let claims = json!({
        "iss": id, "sub": id, "aud": endpoint, "iat": now, "exp": now + limit::ASSERTION_SECONDS,
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes())).map_err(|e| {
        let text = format!("the client's assertion cannot be signed: {e}");
        Failure::new(Problem::standard(Standard::Configuration, text), false)
    })
}

/// An object; what comes more than once is a list.
fn as_object(fields: Vec<(&'static str, String)>) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        match object.get_mut(name) {
            None => drop(object.insert(name.to_owned(), value.into())),
            Some(Value::Array(items)) => items.push(value.into()),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    Value::Object(object)
}

/// The failure that the authority's refusal stands for. What it refuses once it refuses again, unless it is busy.
fn refused(what: &str, status: StatusCode, headers: &reqwest::header::HeaderMap, body: &[u8]) -> Failure {
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return net::refused(what, status, headers, body);
    }
    #[derive(Deserialize)]
    struct Said {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let said: Option<Said> = serde_json::from_slice(body).ok();
    let kind = match said.as_ref().map(|s| s.error.as_str()) {
        Some("unauthorized_client" | "access_denied" | "invalid_scope" | "invalid_target") => Standard::Authorization,
        Some(_) | None if status == StatusCode::FORBIDDEN => Standard::Authorization,
        Some(_) | None => Standard::Authentication,
    };
    let why = match said {
        Some(Said { error, error_description }) if error_description.is_empty() => quote(&error),
        Some(Said { error, error_description }) => quote(&format!("{error} ({error_description})")),
        None => format!("status {}", status.as_u16()),
    };
    Failure::new(Problem::standard(kind, format!("{what} was refused: {why}")), false)
}

/// Whether the token is of a kind that can be used, from an issuer that is trusted.
fn check(policy: &OAuth2, given: &Given) -> Result<(), Failure> {
    let wrong = |text: String| Err(Failure::new(Problem::standard(Standard::Authentication, text), false));
    if let Some(kind) = given.token_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return wrong(format!("the authority gave a token of type `{}`; only bearer tokens can be sent", quote(kind)));
    }
    if policy.issuers.is_empty() {
        return Ok(());
    }
    #[derive(Deserialize)]
    struct Claims {
        iss: String,
    }
    // The token came straight from the authority: its signature is for the one who is called.
    let tokens = [Some(&given.access_token), given.id_token.as_ref()];
    let issuer = tokens.into_iter().flatten().find_map(|t| dangerous::insecure_decode_claims::<Claims>(t).ok());
    match issuer {
        Some(Claims { iss }) if policy.issuers.contains(&iss) => Ok(()),
        Some(Claims { iss }) => wrong(format!("the token's issuer `{}` is not one of `issuers`", quote(&iss))),
        None => wrong("`issuers` is given, but the token does not tell its issuer".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_fields_become_lists_and_parts_are_encoded() {
        let fields = vec![("a", "1".to_owned()), ("b", "x".into()), ("b", "y".into()), ("b", "z".into())];
        assert_eq!(as_object(fields), json!({ "a": "1", "b": ["x", "y", "z"] }));
        assert_eq!(form_text("a b:ä&="), "a+b%3A%C3%A4%26%3D");
    }
}
