//! What the steps that talk HTTP share: the client, bounded reading, and the way from a status or a broken connection
//! to a failure.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use stepmill_protocol::limit::VALUE_BYTES_MAX;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, Timestamp};

use crate::context::quote;
use crate::failure::{Failure, with_sources};
use crate::{clock, limit};

/// The header that carries the idempotency key.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To reach the other side.
    pub connect: Duration,
    /// For the whole call.
    pub overall: Duration,
}

/// The same, for connections that last: whoever makes a call ends it.
pub(crate) fn lasting(timeouts: Timeouts) -> Result<Client, reqwest::Error> {
    builder(timeouts).build()
}

/// A client that follows no redirects and repeats nothing by itself: both are the caller's business.
pub(crate) fn client(timeouts: Timeouts) -> Result<Client, reqwest::Error> {
    builder(timeouts).timeout(timeouts.overall).build()
}

fn builder(timeouts: Timeouts) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("stepmill/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
}

/// The body, as long as it keeps to the limit of values.
pub(crate) async fn read_body(response: &mut Response, what: &str) -> Result<Vec<u8>, Failure> {
    read_up_to(response, what, VALUE_BYTES_MAX, "VALUE_BYTES_MAX").await
}

/// The body, as long as it keeps to the limit of this name.
pub(crate) async fn read_up_to(
    response: &mut Response,
    what: &str,
    max: usize,
    name: &str,
) -> Result<Vec<u8>, Failure> {
    let too_large = || {
        let text = format!("{what}: the answer has more than {max} bytes ({name}); ask for less");
        Failure::new(Problem::standard(Standard::Communication, text), false)
    };
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(what, e))? {
        if body.len() + chunk.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The failure of a call that brought no answer.
pub(crate) fn broken(what: &str, error: reqwest::Error) -> Failure {
    // The URL may hold secrets in its query; `what` says where the call went.
    let error = error.without_url();
    if error.is_builder() {
        let text = format!("{what}: the request cannot be built: {}; correct `with`", with_sources(&error));
        return Failure::new(Problem::standard(Standard::Configuration, text), false);
    }
    let (kind, why) = match error.is_timeout() {
        true => (Standard::Timeout, "no answer in time"),
        false => (Standard::Communication, "no answer"),
    };
    Failure::new(Problem::standard(kind, format!("{what}: {why}: {}", with_sources(&error))), true)
}

/// The failure that a status stands for. 408, 425, 429 and 5xx may go better another time, nothing else.
pub(crate) fn refused(what: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let reason = status.canonical_reason().unwrap_or("no reason known");
    let mut problem = Problem::standard(kind_of(status), format!("{what} answered {} {reason}", status.as_u16()))
        .with_status(status.as_u16());
    if !body.is_empty() {
        problem.extra = Some(json!({ "body": quoted(body) }));
    }
    let retryable = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
    let failure = Failure::new(problem, retryable);
    match retry_after(headers, clock::now()).filter(|_| retryable) {
        Some(delay) => failure.retry_after(delay),
        None => failure,
    }
}

/// The standard's error that a status stands for.
const fn kind_of(status: StatusCode) -> Standard {
    match status.as_u16() {
        401 | 407 => Standard::Authentication,
        403 => Standard::Authorization,
        408 => Standard::Timeout,
        _ => Standard::Communication,
    }
}

fn quoted(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_slice(body) {
        Ok(value) if body.len() <= limit::QUOTE_BYTES_MAX => value,
        Ok(_) | Err(_) => Value::String(quote(&text)),
    }
}

/// `Retry-After` in seconds or as a date, at most a day.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            let at = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            at.saturating_sub(Duration::from_millis(now.0))
        }
    };
    Some(delay.min(limit::RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, expected) in [
            ("3", Some(Duration::from_secs(3))),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(Duration::from_secs(10))),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(Duration::ZERO)),
            ("99999999999", Some(limit::RETRY_AFTER_MAX)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
    }

    #[test]
    fn statuses_say_whether_to_try_again() {
        for (status, retryable) in [(400, false), (404, false), (408, true), (425, true), (429, true), (503, true)] {
            let failure = refused("GET x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"{\"a\":1}");
            assert_eq!(failure.is_retryable(), retryable, "{status}");
            assert_eq!(failure.problem().status, status);
            assert_eq!(failure.problem().extra, Some(json!({"body": {"a": 1}})));
        }
        for (status, kind) in [
            (401, Standard::Authentication),
            (403, Standard::Authorization),
            (407, Standard::Authentication),
            (408, Standard::Timeout),
            (404, Standard::Communication),
            (504, Standard::Communication),
        ] {
            assert!(refused("GET x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"").problem().is(kind));
        }
    }
}
