//! The step `llm`: one call to a language model, its answer checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Problem, Usage};

use super::BuiltinError;
use crate::context::{Context, quote};
use crate::failure::Failure;
use crate::handler::Handler;
use crate::model::{AnswerSchema, ChatAnswer, ChatRequest, Message, Model, OpenAiChat, Role, ScriptSource, Scripted};
use crate::net::{self, Timeouts};

/// The name of this step.
pub const KIND: &str = "llm";
/// Mistakes of an answer that are told at a time.
const MISMATCHES_MAX: usize = 5;
/// Where a key without a base URL goes.
const OPENAI: &str = "https://api.openai.com/v1";

/// What `llm` uses where a call does not say otherwise.
#[derive(Clone)]
pub struct LlmConfig {
    /// The service, for instance `http://localhost:11434/v1`.
    pub base_url: Option<String>,
    /// Its key.
    pub api_key: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The rules that answer where neither base URL nor key is set.
    pub script: Option<ScriptSource>,
    /// How long a call may take.
    pub timeouts: Timeouts,
}

impl Default for LlmConfig {
    fn default() -> Self {
        let timeouts = Timeouts { connect: Duration::from_secs(10), overall: Duration::from_secs(180) };
        Self { base_url: None, api_key: None, model: None, script: None, timeouts }
    }
}

impl LlmConfig {
    /// From `STEPMILL_LLM_BASE_URL`, `STEPMILL_LLM_API_KEY`, `STEPMILL_LLM_MODEL` and `STEPMILL_LLM_SCRIPT` (a file).
    #[must_use]
    pub fn from_env() -> Self {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            base_url: get("STEPMILL_LLM_BASE_URL"),
            api_key: get("STEPMILL_LLM_API_KEY"),
            model: get("STEPMILL_LLM_MODEL"),
            script: get("STEPMILL_LLM_SCRIPT").map(|path| ScriptSource::File(PathBuf::from(path))),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for LlmConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlmConfig")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The step.
pub struct LlmStep {
    client: Client,
    /// What answers unless a call names a service of its own.
    usual: Option<Arc<dyn Model>>,
    base_url: Option<String>,
    model: Option<String>,
}

impl std::fmt::Debug for LlmStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlmStep").field("base_url", &self.base_url).field("model", &self.model).finish_non_exhaustive()
    }
}

/// `with:` of the call, with all expressions evaluated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmCall {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    prompt: Option<Value>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    base_url: Option<String>,
    #[serde(default)]
    api_key: Option<String>,
}

/// What the step gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmOutput {
    /// The answer: text, or the value where a schema was given.
    pub content: Value,
    /// The model that gave it.
    pub model: String,
    /// What it used up.
    pub usage: LlmTokens,
    /// Why it ended.
    pub finish_reason: String,
}

/// The tokens of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmTokens {
    /// Read.
    pub tokens_in: u64,
    /// Written.
    pub tokens_out: u64,
}

impl LlmStep {
    /// The step: the service where a base URL or a key is set, else the script where there is one.
    ///
    /// # Errors
    /// [`BuiltinError`] when the HTTP client cannot be made or the script is wrong.
    pub fn new(config: LlmConfig) -> Result<Self, BuiltinError> {
        let client = net::client(config.timeouts)?;
        let (usual, model): (Option<Arc<dyn Model>>, _) = match (&config.base_url, &config.api_key, &config.script) {
            (None, None, None) => (None, config.model),
            (None, None, Some(script)) => {
                (Some(Arc::new(Scripted::load(script)?)), config.model.or(Some("scripted".into())))
            }
            (url, key, _) => {
                let url = url.as_deref().unwrap_or(OPENAI);
                (Some(Arc::new(OpenAiChat::new(client.clone(), url, key.clone()))), config.model)
            }
        };
        Ok(Self { client, usual, base_url: config.base_url, model })
    }

    /// The step over a model of your own.
    ///
    /// # Errors
    /// [`BuiltinError`] when the HTTP client cannot be made.
    pub fn with_model(model: Arc<dyn Model>, name: &str) -> Result<Self, BuiltinError> {
        let client = net::client(LlmConfig::default().timeouts)?;
        Ok(Self { client, usual: Some(model), base_url: None, model: Some(name.into()) })
    }

    /// The worker's own key goes to the worker's own service only: a definition must not be able to send it elsewhere.
    fn service(&self, call: &LlmCall) -> Result<Arc<dyn Model>, Failure> {
        match (&call.base_url, &call.api_key, &self.usual) {
            (None, None, Some(usual)) => Ok(Arc::clone(usual)),
            (None, None, None) => Err(wrong(
                "no model is configured; set STEPMILL_LLM_BASE_URL or STEPMILL_LLM_API_KEY for the workers of this pool, \
                 or STEPMILL_LLM_SCRIPT for a scripted model",
            )),
            (url, key, _) => {
                let url = url.as_deref().or(self.base_url.as_deref()).unwrap_or(OPENAI);
                Ok(Arc::new(OpenAiChat::new(self.client.clone(), url, key.clone())))
            }
        }
    }
}

impl Handler<LlmCall, LlmOutput> for LlmStep {
    async fn run(&self, ctx: Context, call: LlmCall) -> Result<LlmOutput, Failure> {
        let service = self.service(&call)?;
        let checker = call.schema.as_ref().map(|schema| compile(document(schema))).transpose()?;
        let request = self.request(call, &ctx)?;
        ctx.add_usage(Usage { model_calls: 1, ..Usage::default() });
        let answer = service.complete(&request).await?;
        // Before any check: a useless answer costs as much as a good one.
        ctx.add_usage(Usage { model_calls: 0, tokens_in: answer.tokens_in, tokens_out: answer.tokens_out });
        let content = checked(&answer, checker.as_ref())?;
        Ok(LlmOutput {
            content,
            model: answer.model,
            usage: LlmTokens { tokens_in: answer.tokens_in, tokens_out: answer.tokens_out },
            finish_reason: answer.finish_reason,
        })
    }
}

impl LlmStep {
    fn request(&self, call: LlmCall, ctx: &Context) -> Result<ChatRequest, Failure> {
        let message = |role, content| Message { role, content };
        let mut messages: Vec<Message> = call.system.map(|text| message(Role::System, text)).into_iter().collect();
        messages.extend(call.messages);
        match call.prompt {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => messages.push(message(Role::User, text)),
            Some(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                messages.push(message(Role::User, value.to_string()));
            }
        }
        if !messages.iter().any(|m| m.role != Role::System) {
            return Err(wrong("there is nothing to answer; give `prompt` or `messages`"));
        }
        let Some(model) = call.model.or_else(|| self.model.clone()) else {
            return Err(wrong(
                "no model is named; give `model` or set STEPMILL_LLM_MODEL for the workers of this pool",
            ));
        };
        Ok(ChatRequest {
            model,
            messages,
            schema: call.schema.map(|schema| named(document(&schema))),
            temperature: call.temperature,
            max_tokens: call.max_tokens,
            tries: ctx.pass().0.saturating_add(ctx.attempt().0),
            key: ctx.idempotency_key().to_owned(),
        })
    }
}

fn wrong(text: &str) -> Failure {
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

/// The schema itself, also where it is written in the standard's way (`format`, `document`).
fn document(schema: &Value) -> &Value {
    match (schema.get("document"), schema.get("type")) {
        (Some(document), None) => document,
        (Some(_) | None, Some(_) | None) => schema,
    }
}

fn named(schema: &Value) -> AnswerSchema {
    let title = schema.get("title").and_then(Value::as_str).unwrap_or("answer");
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    AnswerSchema { name: title.chars().take(64).map(safe).collect(), schema: schema.clone() }
}

fn compile(schema: &Value) -> Result<jsonschema::Validator, Failure> {
    jsonschema::validator_for(schema).map_err(|e| wrong(&format!("`schema` is not a JSON Schema: {e}")))
}

/// The answer's content, or why it cannot be used.
fn checked(answer: &ChatAnswer, checker: Option<&jsonschema::Validator>) -> Result<Value, Failure> {
    let unusable = |name: &str, retryable: bool, detail: String| {
        Failure::new(Problem::own(name, 422, "Unusable model answer", detail), retryable)
    };
    if let Some(refusal) = &answer.refusal {
        return Err(unusable("llm-refused", false, format!("the model declined: {}", quote(refusal))));
    }
    match answer.finish_reason.as_str() {
        "length" => {
            let text = format!("the answer was cut after {} tokens; raise `max_tokens`", answer.tokens_out);
            return Err(unusable("llm-truncated", false, text));
        }
        "content_filter" => {
            return Err(unusable("llm-refused", false, "the service's content filter stopped the answer".into()));
        }
        _ => {}
    }
    let Some(checker) = checker else { return Ok(Value::String(answer.text.clone())) };
    let text = without_fence(&answer.text);
    let value: Value = serde_json::from_str(text)
        .map_err(|e| unusable("llm-malformed", true, format!("the answer is not JSON ({e}): {}", quote(text))))?;
    let mistakes: Vec<String> = checker
        .iter_errors(&value)
        .take(MISMATCHES_MAX)
        .map(|error| {
            let place = error.instance_path().to_string();
            format!("{}: {error}", if place.is_empty() { "/" } else { &place })
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(value);
    }
    let text = format!("the answer does not fit its schema: {}; it was {}", mistakes.join("; "), quote(text));
    Err(unusable("llm-mismatch", true, text))
}

/// Some models put their JSON into a fenced block, whatever they are told.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}
