//! The chat-completions format of OpenAI, which most services and local servers speak.

use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepmill_protocol::Problem;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;

use super::{ChatAnswer, ChatRequest, Model};
use crate::failure::Failure;
use crate::net::{self, Timeouts};
use crate::secret::Revealed;

/// A service at a base URL, for instance `https://api.openai.com/v1`.
#[derive(Clone)]
pub struct OpenAiChat {
    client: Client,
    base_url: String,
    api_key: Option<String>,
}

impl std::fmt::Debug for OpenAiChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiChat").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl OpenAiChat {
    /// A service with a client of its own.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn connect(base_url: &str, api_key: Option<String>, timeouts: Timeouts) -> Result<Self, reqwest::Error> {
        Ok(Self::new(net::client(timeouts)?, base_url, api_key))
    }

    /// A service over a client that others use too; the client brings the timeouts.
    #[must_use]
    pub(crate) fn new(client: Client, base_url: &str, api_key: Option<String>) -> Self {
        Self { client, base_url: base_url.trim_end_matches('/').to_owned(), api_key }
    }

    async fn ask(&self, request: &ChatRequest) -> Result<ChatAnswer, Failure> {
        let what = format!("the model service at {}", self.base_url);
        let mut call = self
            .client
            .post(format!("{}/chat/completions", self.base_url))
            .header(net::IDEMPOTENCY_KEY, &request.key)
            .json(&self.body(request));
        if let Some(key) = &self.api_key {
            call = call.bearer_auth(key);
        }
        let mut response = call.send().await.map_err(|e| net::broken(&what, e))?;
        let status = response.status();
        let body = net::read_body(&mut response, &what).await;
        if !status.is_success() {
            let body = body.unwrap_or_default();
            let failure = net::refused(&what, status, response.headers(), &body);
            return Err(if out_of_quota(&body) { failure.into_terminal() } else { failure });
        }
        read_answer(&what, &request.model, &body?)
    }

    fn body(&self, request: &ChatRequest) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), json!(request.model));
        body.insert("messages".into(), json!(request.messages));
        if let Some(schema) = &request.schema {
            // Strict mode refuses schemas that leave anything open; the answer is checked here in any case.
            let strict = is_strict(&schema.schema);
            let format = json!({
                "type": "json_schema",
                "json_schema": {"name": schema.name, "schema": schema.schema, "strict": strict},
            });
            body.insert("response_format".into(), format);
        }
        if let Some(temperature) = request.temperature {
            body.insert("temperature".into(), json!(temperature));
        }
        if let Some(max) = request.max_tokens {
            // OpenAI's newer models refuse the name that everybody else knows.
            let name = if self.base_url.contains("//api.openai.com") { "max_completion_tokens" } else { "max_tokens" };
            body.insert(name.into(), json!(max));
        }
        Value::Object(body)
    }
}

impl Model for OpenAiChat {
    fn complete<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<ChatAnswer, Failure>> {
        Box::pin(async move {
            self.ask(request).await.map_err(|mut failure| {
                if let Some(key) = &self.api_key {
                    Revealed::one("llm-api-key", key).hide(failure.problem_mut());
                }
                failure
            })
        })
    }
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Answer,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

fn read_answer(what: &str, asked: &str, body: &[u8]) -> Result<ChatAnswer, Failure> {
    let odd = |why: String| {
        let text = format!("{what} answered in another format than chat completions: {why}; check the base URL");
        Failure::new(Problem::standard(Standard::Communication, text), true)
    };
    let completion: Completion = serde_json::from_slice(body).map_err(|e| odd(e.to_string()))?;
    let Some(choice) = completion.choices.into_iter().next() else { return Err(odd("there is no choice".into())) };
    let tokens = completion.usage.unwrap_or_default();
    Ok(ChatAnswer {
        text: choice.message.content.unwrap_or_default(),
        model: completion.model.unwrap_or_else(|| asked.to_owned()),
        tokens_in: tokens.prompt_tokens,
        tokens_out: tokens.completion_tokens,
        finish_reason: choice.finish_reason.unwrap_or_else(|| "stop".into()),
        refusal: choice.message.refusal,
    })
}

/// A 429 that says so will not go away by waiting.
fn out_of_quota(body: &[u8]) -> bool {
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
    error.pointer("/error/code").and_then(Value::as_str) == Some("insufficient_quota")
}

/// Whether a schema closes all its objects, as strict mode wants it.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let closed = match map.get("properties") {
                Some(Value::Object(properties)) => {
                    let required = map.get("required").and_then(Value::as_array);
                    let all = properties
                        .keys()
                        .all(|name| required.is_some_and(|r| r.iter().any(|v| v.as_str() == Some(name.as_str()))));
                    all && map.get("additionalProperties") == Some(&Value::Bool(false))
                }
                Some(_) => false,
                None => map.get("type").and_then(Value::as_str) != Some("object"),
            };
            closed && map.values().all(is_strict)
        }
        Value::Array(items) => items.iter().all(is_strict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_schemas_are_strict() {
        let closed = json!({
            "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false,
        });
        assert!(is_strict(&closed));
        for (key, value) in [("required", json!([])), ("additionalProperties", json!(true))] {
            let mut open = closed.clone();
            open[key] = value;
            assert!(!is_strict(&open), "{key}");
        }
        assert!(!is_strict(&json!({"type": "array", "items": {"type": "object"}})));
    }
}
