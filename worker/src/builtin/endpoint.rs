//! Where a call goes, and what is fetched from there and kept for a while.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use blake3::Hash;
use parking_lot::Mutex;
use reqwest::{Method, Request, Url};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;

use super::auth::Authentication;
use super::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::{limit, net};

/// A URI, and how to show who calls.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) uri: String,
    pub(super) authentication: Option<Authentication>,
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Configured {
            uri: String,
            #[serde(default)]
            authentication: Option<Authentication>,
        }
        let value = Value::deserialize(deserializer)?;
        if let Value::String(uri) = value {
            return Ok(Self { uri, authentication: None });
        }
        let Configured { uri, authentication } = serde_json::from_value(value).map_err(Error::custom)?;
        Ok(Self { uri, authentication })
    }
}

impl Endpoint {
    /// The URL, if it is one that can be called.
    pub(super) fn url(&self) -> Result<Url, Failure> {
        url(&self.uri)
    }
}

/// A configuration that no repetition mends.
pub(super) fn wrong(text: String) -> Failure {
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

/// A URL that can be called.
pub(super) fn url(text: &str) -> Result<Url, Failure> {
    let url =
        Url::parse(text).map_err(|e| wrong(format!("the endpoint is not a full URL: {e}; correct `endpoint`")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!(
            "the endpoint's scheme `{}` is not http or https; correct `endpoint`",
            url.scheme()
        )));
    }
    Ok(url)
}

/// For people and errors: the query may hold personal data and secrets.
pub(super) fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // A URL that can be called has a host, so that these cannot fail.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url
}

/// What is at an endpoint.
pub(super) async fn fetch(wire: &Wire, ctx: &Context, endpoint: &Endpoint) -> Result<Vec<u8>, Failure> {
    let url = endpoint.url()?;
    let what = format!("GET {}", without_query(&url));
    let request = Request::new(Method::GET, url);
    let mut response = wire.send(ctx, request, endpoint.authentication.as_ref(), &what).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = net::read_up_to(&mut response, &what, limit::RESOURCE_BYTES_MAX, "RESOURCE_BYTES_MAX").await;
    if !status.is_success() {
        return Err(net::refused(&what, status, &headers, &body.unwrap_or_default()));
    }
    body
}

/// What was made of fetched resources, for a while.
pub(super) struct Kept<T>(Mutex<HashMap<Hash, (Arc<T>, Instant)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> std::fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.0.lock().len())
    }
}

impl<T> Kept<T> {
    /// What is kept for `endpoint` (as the definition has it, credentials included), or what `make` gives.
    pub(super) async fn get(
        &self,
        endpoint: &Value,
        make: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let key = blake3::hash(endpoint.to_string().as_bytes());
        if let Some((found, until)) = self.0.lock().get(&key)
            && Instant::now() < *until
        {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(make.await?);
        let mut kept = self.0.lock();
        if kept.len() >= limit::RESOURCES_KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, (Arc::clone(&made), Instant::now() + limit::RESOURCE_LIFE));
        Ok(made)
    }
}
