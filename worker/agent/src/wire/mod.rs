//! The wire formats of services, as data: from a request to a body, from an answer's bytes to an answer. No I/O here.

pub mod anthropic;
pub mod chat;
mod error;
mod headers;
pub mod responses;
mod schema;
mod sse;
mod value;
mod wait;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepmill_worker_engine::model::{Format, ModelAnswer, ModelError, ModelErrorKind, ModelRequest};

pub use error::refusal;
pub use headers::Headers;
pub use sse::Events;
pub use wait::wait;

/// In which of its variants a service speaks its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether the answer comes as a stream.
    pub stream: bool,
    /// How an answer's schema is said.
    pub structured: Structured,
    /// Where the limit of the answer's tokens stands, in chat completions.
    pub max_tokens_name: MaxTokensName,
    /// Whether to mark what the service should keep of a conversation that goes on, where the format wants marks.
    pub prompt_cache: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            stream: true,
            structured: Structured::Native,
            max_tokens_name: MaxTokensName::MaxTokens,
            prompt_cache: true,
        }
    }
}

/// How an answer's schema is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Structured {
    /// As the format has it: the service holds the model to it.
    #[default]
    Native,
    /// In the author's instructions, for services that know no other way.
    Prompt,
}

/// The two names of the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensName {
    /// The name that nearly everybody knows.
    #[default]
    MaxTokens,
    /// What OpenAI's newer models want.
    MaxCompletionTokens,
}

/// What came with one piece of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Text for the reader.
    pub text: String,
    /// Whether the model has begun to answer: the first token is there, of whatever kind.
    pub begun: bool,
    /// Whether nothing follows.
    pub done: bool,
}

/// The address of a format below its base URL.
#[must_use]
pub const fn path(format: Format) -> &'static str {
    match format {
        Format::OpenaiChat => "/chat/completions",
        Format::OpenaiResponses => "/responses",
        Format::Anthropic => "/messages",
    }
}

/// The headers that show who calls, and those that the format wants.
#[must_use]
pub fn headers(format: Format, key: Option<&str>) -> Vec<(&'static str, String)> {
    match format {
        Format::OpenaiChat | Format::OpenaiResponses => {
            key.map(|key| ("authorization", format!("Bearer {key}"))).into_iter().collect()
        }
        Format::Anthropic => {
            let version = ("anthropic-version", anthropic::VERSION.to_owned());
            std::iter::once(version).chain(key.map(|key| ("x-api-key", key.to_owned()))).collect()
        }
    }
}

/// The body of a request.
///
/// # Errors
/// [`ModelErrorKind::BadRequest`] where the format has no way to say something.
pub fn body(format: Format, request: &ModelRequest, style: &Style) -> Result<Value, ModelError> {
    let told;
    let request = match (&request.schema, style.structured) {
        (Some(schema), Structured::Prompt) => {
            told = schema::told(request, schema);
            &told
        }
        (Some(_) | None, Structured::Native | Structured::Prompt) => request,
    };
    let mut body = match format {
        Format::OpenaiChat => chat::body(request, style)?,
        Format::OpenaiResponses => responses::body(request, style)?,
        Format::Anthropic => anthropic::body(request, style),
    };
    for (name, value) in &request.extra {
        merge(&mut body, name, value);
    }
    Ok(Value::Object(body))
}

/// Objects are put together, everything else is replaced.
fn merge(body: &mut Map<String, Value>, name: &str, value: &Value) {
    match (body.get_mut(name), value) {
        (Some(Value::Object(known)), Value::Object(more)) => {
            for (name, value) in more {
                merge(known, name, value);
            }
        }
        (Some(_) | None, _) => {
            body.insert(name.to_owned(), value.clone());
        }
    }
}

/// Reads an answer that came in one piece.
///
/// # Errors
/// [`ModelError`] where it is none, or says that something went wrong.
pub fn answer(format: Format, request: &ModelRequest, body: &[u8]) -> Result<ModelAnswer, ModelError> {
    let body: Value = serde_json::from_slice(body).map_err(|e| unreadable(format, &e.to_string()))?;
    match format {
        Format::OpenaiChat => chat::answer(request, &body),
        Format::OpenaiResponses => responses::answer(request, &body),
        Format::Anthropic => anthropic::answer(request, &body),
    }
}

/// Puts a streamed answer together.
#[derive(Debug)]
pub enum Assembly {
    /// Of chat completions.
    Chat(chat::Assembly),
    /// Of responses.
    Responses(responses::Assembly),
    /// Of messages.
    Anthropic(anthropic::Assembly),
}

impl Assembly {
    /// Begins the answer to this request.
    #[must_use]
    pub fn new(format: Format, request: &ModelRequest) -> Self {
        match format {
            Format::OpenaiChat => Self::Chat(chat::Assembly::new(request)),
            Format::OpenaiResponses => Self::Responses(responses::Assembly::new(request)),
            Format::Anthropic => Self::Anthropic(anthropic::Assembly::new(request)),
        }
    }

    /// Takes the data of one event of the stream.
    ///
    /// # Errors
    /// [`ModelError`] where it cannot be read, or says that something went wrong.
    pub fn take(&mut self, data: &str) -> Result<Piece, ModelError> {
        match self {
            Self::Chat(assembly) => assembly.take(data),
            Self::Responses(assembly) => assembly.take(data),
            Self::Anthropic(assembly) => assembly.take(data),
        }
    }

    /// The whole answer, when the stream has ended.
    ///
    /// # Errors
    /// [`ModelErrorKind::CutStream`] where the answer's end has not come.
    pub fn finish(self) -> Result<ModelAnswer, ModelError> {
        match self {
            Self::Chat(assembly) => assembly.finish(),
            Self::Responses(assembly) => assembly.finish(),
            Self::Anthropic(assembly) => assembly.finish(),
        }
    }
}

const fn name(format: Format) -> &'static str {
    match format {
        Format::OpenaiChat => "OpenAI chat completions",
        Format::OpenaiResponses => "OpenAI responses",
        Format::Anthropic => "Anthropic messages",
    }
}

fn unreadable(format: Format, why: &str) -> ModelError {
    let text =
        format!("the answer has not the format of {}: {why}; check the provider's `format` and base URL", name(format));
    ModelError::new(ModelErrorKind::Unreadable, text)
}

fn cut() -> ModelError {
    ModelError::new(ModelErrorKind::CutStream, "the stream ended in the middle of the answer")
}

/// An id for a tool call of a service that gives none: the same for the same request, and no other of the conversation's.
fn own_call_id(request_messages: usize, index: usize) -> String {
    format!("call_{request_messages}_{index}")
}
