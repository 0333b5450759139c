//! What a service's refusal means: by its status, and by what its body says.

use serde_json::Value;
use stepmill_protocol::Timestamp;
use stepmill_worker_engine::model::{ModelError, ModelErrorKind as Kind};

use super::value::text;
use super::{Headers, wait};
use crate::text::quote;

/// The error that an answer with another status than success stands for. `what` names the service.
#[must_use]
pub fn refusal(what: &str, status: u16, headers: &Headers, body: &[u8], now: Timestamp) -> ModelError {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let error = said.as_ref().map_or(&Value::Null, said_error);
    let words = Words::of(error);
    let message = match words.message.is_empty() {
        true => quote(String::from_utf8_lossy(body).trim()),
        false => quote(&words.message),
    };
    let mut detail = format!("{what} answered {status}");
    if !message.is_empty() {
        detail = format!("{detail}: {message}");
    }
    let mut error = ModelError::new(kind(status, &words), detail).with_status(status);
    // The service knows best whether the same request could go better.
    if error.is_retryable() && headers.get("x-should-retry") == Some("false") && error.kind == Kind::RateLimit {
        error.kind = Kind::Quota;
    }
    error.retry_after = wait(headers, now).filter(|_| error.is_retryable());
    error
}

/// The error that comes in the middle of a stream.
pub(super) fn in_stream(event: &Value) -> ModelError {
    let error = said_error(event);
    let words = Words::of(error);
    let status = match words.kind.as_str() {
        "overloaded_error" => 529,
        "rate_limit_error" | "rate_limit_exceeded" | "requests" | "tokens" => 429,
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "invalid_request_error" | "invalid_prompt" => 400,
        "timeout_error" => 408,
        _ => words.code.parse().ok().filter(|s| (400..600).contains(s)).unwrap_or(500),
    };
    let status = if words.code == "rate_limit_exceeded" { 429 } else { status };
    ModelError::new(kind(status, &words), format!("the stream ended with an error: {}", quote(&words.message)))
        .with_status(status)
}

/// Services put their error under `error`, and some do without.
fn said_error(body: &Value) -> &Value {
    match body.get("error") {
        Some(error @ (Value::Object(_) | Value::String(_))) => error,
        Some(_) | None => body,
    }
}

struct Words {
    kind: String,
    code: String,
    message: String,
}

impl Words {
    fn of(error: &Value) -> Self {
        let word = |name: &str| match error.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => String::new(),
        };
        let message = error.as_str().or_else(|| text(error, "/message")).or_else(|| text(error, "/detail"));
        Self { kind: word("type"), code: word("code"), message: message.unwrap_or_default().to_owned() }
    }

    fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.kind == *name || self.code == *name)
    }

    fn says(&self, parts: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        parts.iter().any(|part| message.contains(part))
    }
}

fn kind(status: u16, words: &Words) -> Kind {
    let too_long = words.is(&["context_length_exceeded", "exceed_context_size_error", "request_too_large"])
        || words.says(&[
            "prompt is too long",
            "maximum context length",
            "context window",
            "context length",
            "exceed context limit",
        ]);
    let no_money = words.is(&["insufficient_quota", "billing_error", "billing_hard_limit_reached"])
        || words.says(&["credit balance is too low"]);
    let filtered = words.is(&["content_filter", "content_policy_violation", "moderation_blocked"]);
    match status {
        401 => Kind::Authentication,
        402 => Kind::Quota,
        403 => Kind::Permission,
        404 => Kind::NotFound,
        408 | 504 => Kind::Timeout,
        413 => Kind::ContextTooLong,
        429 if no_money => Kind::Quota,
        429 => Kind::RateLimit,
        409 | 425 => Kind::Unavailable,
        400..=499 if too_long => Kind::ContextTooLong,
        400..=499 if no_money => Kind::Quota,
        400..=499 if filtered => Kind::Refused,
        400..=499 => Kind::BadRequest,
        503 | 529 => Kind::Overloaded,
        500..=599 if words.is(&["overloaded_error"]) => Kind::Overloaded,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stepmill_protocol::Millis;

    use super::*;

    #[test]
    fn refusals_are_told_apart_by_status_and_words() {
        let openai = |kind: &str, code: Value, message: &str| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        let anthropic =
            |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
        let context =
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.";
        for (status, body, expected) in [
            (429, openai("requests", json!("rate_limit_exceeded"), "Rate limit reached"), Kind::RateLimit),
            (429, openai("insufficient_quota", json!("insufficient_quota"), "You exceeded"), Kind::Quota),
            (400, openai("invalid_request_error", json!("context_length_exceeded"), context), Kind::ContextTooLong),
            (
                400,
                json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "x"}}),
                Kind::ContextTooLong,
            ),
            (400, json!({"object": "error", "message": context, "code": 400}), Kind::ContextTooLong),
            (400, openai("invalid_request_error", Value::Null, "Unknown parameter: 'x'."), Kind::BadRequest),
            (400, openai("invalid_request_error", json!("content_filter"), "filtered"), Kind::Refused),
            (401, openai("invalid_request_error", json!("invalid_api_key"), "Incorrect API key"), Kind::Authentication),
            (404, openai("invalid_request_error", json!("model_not_found"), "no model"), Kind::NotFound),
            (500, openai("server_error", Value::Null, "The server had an error"), Kind::Unavailable),
            (503, openai("server_error", Value::Null, "The engine is currently overloaded"), Kind::Overloaded),
            (
                400,
                anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
                Kind::ContextTooLong,
            ),
            (400, anthropic("invalid_request_error", "Your credit balance is too low"), Kind::Quota),
            (403, anthropic("permission_error", "no"), Kind::Permission),
            (413, anthropic("request_too_large", "too many bytes"), Kind::ContextTooLong),
            (429, anthropic("rate_limit_error", "limit"), Kind::RateLimit),
            (529, anthropic("overloaded_error", "Overloaded"), Kind::Overloaded),
            (504, json!("<html>"), Kind::Timeout),
        ] {
            let bytes = serde_json::to_vec(&body).unwrap();
            let headers = [("retry-after", "2")].into_iter().collect();
            let error = refusal("the model service", status, &headers, &bytes, Timestamp(0));
            assert_eq!((error.kind, error.status), (expected, Some(status)), "{body}");
            assert_eq!(error.retry_after, error.is_retryable().then_some(Millis(2_000)), "{body}");
        }
    }

    #[test]
    fn a_problem_says_where_what_and_how_long() {
        let body = br#"{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}"#;
        let headers = [("retry-after", "2")].into_iter().collect();
        let problem = refusal("provider `main`", 429, &headers, body, Timestamp(0)).problem();
        assert_eq!(problem.kind, "https://stepmill.dev/errors/model/rate-limit");
        assert_eq!(problem.detail.as_deref(), Some("provider `main` answered 429: Slow down"));
        assert_eq!((problem.status, problem.extra), (429, Some(json!({"retry_after_ms": 2_000}))));
        let plain = refusal("x", 502, &Headers::default(), b"Bad gateway", Timestamp(0));
        assert_eq!(plain.detail, "x answered 502: Bad gateway");
    }

    #[test]
    fn errors_inside_of_streams_have_the_same_kinds() {
        for (event, expected) in [
            (
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
                Kind::Overloaded,
            ),
            (json!({"type": "error", "error": {"type": "api_error", "message": "x"}}), Kind::Unavailable),
            (json!({"error": {"message": "x", "type": "server_error", "code": null}}), Kind::Unavailable),
            (json!({"error": {"message": "x", "type": "tokens", "code": "rate_limit_exceeded"}}), Kind::RateLimit),
            (json!({"error": {"message": "maximum context length", "code": 400}}), Kind::ContextTooLong),
        ] {
            assert_eq!(in_stream(&event).kind, expected, "{event}");
        }
    }
}
