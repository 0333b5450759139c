//! The tokens that authorities gave, kept in memory until they expire. One request at a time asks for the same token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blake3::Hash;
use parking_lot::Mutex;
use reqwest::Client;
use serde::Deserialize;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::grant;
use super::oauth2::{Grant, OAuth2};
use crate::failure::Failure;
use crate::{limit, net};

/// All tokens of a worker.
#[derive(Default)]
pub(crate) struct Tokens {
    places: Mutex<HashMap<Hash, Place>>,
    /// Where OpenID providers give tokens.
    described: Mutex<HashMap<String, (String, Instant)>>,
}

type Place = Arc<tokio::sync::Mutex<Option<Held>>>;

struct Held {
    token: String,
    until: Instant,
    refresh: Option<String>,
}

/// A token, and whether it was there already.
pub(in crate::builtin) struct Got {
    pub(in crate::builtin) token: String,
    pub(in crate::builtin) kept: bool,
}

/// Asks an authority, which may take so long and no longer: others wait for the same token.
async fn asked(http: &Client, policy: &OAuth2, endpoint: &str, refresh: Option<&str>) -> Result<grant::Given, Failure> {
    let asked = tokio::time::timeout(limit::TOKEN_TIMEOUT, grant::ask(http, policy, endpoint, refresh)).await;
    asked.unwrap_or_else(|_| {
        let text = format!("the authority gave no token within {} s (TOKEN_TIMEOUT)", limit::TOKEN_TIMEOUT.as_secs());
        Err(Failure::new(Problem::standard(Standard::Timeout, text), true))
    })
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("kept", &self.places.lock().len()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The token that a policy stands for.
    pub(in crate::builtin) async fn get(&self, http: &Client, policy: &OAuth2, discover: bool) -> Result<Got, Failure> {
        let place = self.place(policy, discover)?;
        let mut held = place.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until) {
            return Ok(Got { token: held.token.clone(), kept: true });
        }
        let endpoint = if discover { self.describe(http, &policy.discovery()).await? } else { policy.token_endpoint() };
        // It stays until there is another one, or until it is refused for good.
        let refresh = held.as_ref().and_then(|held| held.refresh.clone());
        let given = match refresh {
            Some(refresh) => match asked(http, policy, &endpoint, Some(&refresh)).await {
                // A refresh token that is no good any more is no reason to give up.
                Err(failure) if !failure.is_retryable() => {
                    *held = None;
                    asked(http, policy, &endpoint, None).await
                }
                other => other,
            },
            None => asked(http, policy, &endpoint, None).await,
        }?;
        let life = given.expires_in().map_or(limit::TOKEN_LIFE_UNSAID, Duration::from_secs);
        let life = life.saturating_sub(limit::TOKEN_MARGIN).min(limit::TOKEN_LIFE_MAX);
        // A client that shows who it is needs no refresh token (RFC 6749, 4.4.3).
        let before = held.take().and_then(|held| held.refresh);
        let refresh = given.refresh_token.clone().or(before).filter(|_| policy.grant != Grant::ClientCredentials);
        *held = Some(Held { token: given.access_token.clone(), until: Instant::now() + life, refresh });
        Ok(Got { token: given.access_token, kept: false })
    }

    /// Drops a token that was refused.
    pub(in crate::builtin) async fn forget(&self, policy: &OAuth2, discover: bool, token: &str) {
        let Ok(place) = self.place(policy, discover) else { return };
        let mut held = place.lock().await;
        if let Some(held) = held.as_mut().filter(|held| held.token == token) {
            held.until = Instant::now();
        }
    }

    /// Where the token of a policy is kept: policies that differ in anything share nothing.
    fn place(&self, policy: &OAuth2, discover: bool) -> Result<Place, Failure> {
        let text = serde_json::to_vec(&(policy, discover)).map_err(|e| {
            let text = format!("the authentication policy has no JSON form: {e}");
            Failure::new(Problem::standard(Standard::Configuration, text), false)
        })?;
        let mut places = self.places.lock();
        if places.len() >= limit::TOKENS_KEPT_MAX {
            // What is being asked for stays, and what a refresh token was given for: it may not come a second time. The rest can be
            // had again.
            let is_needed = |place: &Place| {
                place.try_lock().map_or(true, |held| held.as_ref().is_some_and(|h| h.refresh.is_some()))
            };
            places.retain(|_, place| Arc::strong_count(place) > 1 || is_needed(place));
        }
        if places.len() >= limit::TOKENS_KEPT_MAX {
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        Ok(Arc::clone(places.entry(blake3::hash(&text)).or_default()))
    }

    /// The token endpoint that an OpenID provider describes.
    async fn describe(&self, http: &Client, url: &str) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Provider {
            token_endpoint: String,
        }
        if let Some((endpoint, until)) = self.described.lock().get(url)
            && Instant::now() < *until
        {
            return Ok(endpoint.clone());
        }
        let what = format!("GET {url}");
        let mut response = http.get(url).send().await.map_err(|e| net::broken(&what, e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = net::read_body(&mut response, &what).await?;
        if !status.is_success() {
            return Err(net::refused(&what, status, &headers, &body));
        }
        let provider: Provider = serde_json::from_slice(&body).map_err(|e| {
            let text = format!("{what} did not give an OpenID configuration with `token_endpoint`: {e}");
            Failure::new(Problem::standard(Standard::Communication, text), false)
        })?;
        let mut described = self.described.lock();
        if described.len() >= limit::TOKENS_KEPT_MAX {
            described.clear();
        }
        let until = Instant::now() + limit::DISCOVERY_LIFE;
        described.insert(url.to_owned(), (provider.token_endpoint.clone(), until));
        Ok(provider.token_endpoint)
    }
}
