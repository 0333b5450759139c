//! Language models behind one trait: [`OpenAiChat`] for every service that speaks the chat-completions format, and
//! [`Scripted`], which answers by rules where there is no service; the documentation of [`Scripted`] shows a rule file.

mod openai;
mod rule;
mod scripted;
mod template;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepmill_protocol::link::BoxFuture;

pub use openai::OpenAiChat;
pub use rule::{ScriptError, ScriptSource};
pub use scripted::Scripted;

use crate::failure::Failure;

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The author's instructions.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they say.
    pub content: String,
}

/// The form that an answer must have.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSchema {
    /// Its name: the schema's title in letters, digits, `-` and `_`.
    pub name: String,
    /// The JSON Schema.
    pub schema: Value,
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// Which model.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The form of the answer, where it matters.
    pub schema: Option<AnswerSchema>,
    /// How much chance the model may take.
    pub temperature: Option<f64>,
    /// How many tokens the answer may have.
    pub max_tokens: Option<u64>,
    /// Which try at this step this is, from 1; all attempts of all passes count.
    pub tries: u32,
    /// The step's idempotency key.
    pub key: String,
}

/// What a model answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatAnswer {
    /// The text.
    pub text: String,
    /// The model that gave it.
    pub model: String,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Why it ended: `stop`, `length`, `content_filter` …
    pub finish_reason: String,
    /// Set where the model declined to answer.
    pub refusal: Option<String>,
}

/// A language model.
pub trait Model: Send + Sync {
    /// Answers one request, once: repetitions are the caller's business.
    fn complete<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<ChatAnswer, Failure>>;
}
