//! `with:` of `call: llm`.

use serde::Deserialize;
use serde_json::{Map, Value};
use stepmill_worker_engine::model::{Effort, Format, Message, ModelRequest, transcript};

use super::check::Checker;
use super::prompt::Prompt;
use crate::limit;
use crate::provider::{Found, Providers};

/// What a call may say, with all expressions evaluated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmCall {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    system: Option<Prompt>,
    #[serde(default)]
    prompt: Option<Prompt>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    pub(super) schema: Option<Value>,
    #[serde(default = "yes")]
    pub(super) repair: bool,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    stop: Vec<String>,
    #[serde(default)]
    effort: Option<Effort>,
    #[serde(default)]
    extra: Map<String, Value>,
    #[serde(default)]
    pub(super) cache_s: Option<u64>,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default)]
    base_url: Option<String>,
    #[serde(default)]
    api_key: Option<String>,
}

const fn yes() -> bool {
    true
}

impl LlmCall {
    /// The models to ask, one after the other.
    pub(super) fn chain(&self, providers: &Providers) -> Result<Vec<Found>, String> {
        let mut names: Vec<Option<&str>> =
            self.model.iter().chain(&self.models).map(|name| Some(name.as_str())).collect();
        if names.is_empty() {
            names.push(None);
        }
        if names.len() > limit::MODELS_MAX {
            return Err(format!("{} models are named, at most {} can be (MODELS_MAX)", names.len(), limit::MODELS_MAX));
        }
        let find = |name: Option<&str>| match (&self.base_url, &self.api_key, self.format) {
            (None, None, None) => providers.find(name),
            (url, key, format) => providers.named_by_call(name, format, url.as_deref(), key.as_deref()),
        };
        names.into_iter().map(find).collect()
    }

    /// What each of them is asked; the model's name is left open.
    pub(super) fn request(self, checker: Option<&Checker>) -> Result<ModelRequest, String> {
        let system = self.system.map(Prompt::text).transpose()?.flatten();
        let mut messages: Vec<Message> = system.map(Message::system).into_iter().collect();
        messages.extend(self.messages);
        messages.extend(self.prompt.map(Prompt::text).transpose()?.flatten().map(Message::user));
        transcript::check(&messages).map_err(|flaw| match flaw == transcript::Flaw::Nothing {
            true => "there is nothing to answer; give `prompt` or `messages`".to_owned(),
            false => format!("no service takes these messages: {flaw}"),
        })?;
        Ok(ModelRequest {
            messages,
            schema: checker.map(|checker| checker.schema.clone()),
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_tokens,
            stop: self.stop,
            effort: self.effort,
            extra: self.extra,
            ..ModelRequest::default()
        })
    }
}
