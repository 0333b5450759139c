//! OpenAI's chat completions, which most services and local servers speak.

use serde_json::{Map, Value, json};
use stepmill_worker_engine::model::{
    Format, Message, ModelAnswer, ModelError, ModelRequest, Part, Said, Stop, Tokens, ToolCall, ToolChoice, texts,
};

use super::value::{items, number, text, text_or_empty};
use super::{MaxTokensName, Piece, Style, cut, error, own_call_id, schema, unreadable};

const FORMAT: Format = Format::OpenaiChat;

pub(super) fn body(request: &ModelRequest, style: &Style) -> Result<Map<String, Value>, ModelError> {
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("messages".into(), request.messages.iter().map(message).collect());
    if !request.tools.is_empty() {
        let tool = |tool: &stepmill_worker_engine::model::Tool| {
            json!({"type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters}})
        };
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        body.insert("tool_choice".into(), choice(&request.tool_choice));
    }
    if let Some(schema) = &request.schema {
        let strict = schema::is_strict(&schema.schema);
        let format = json!({"name": schema.name, "schema": schema.schema, "strict": strict});
        body.insert("response_format".into(), json!({"type": "json_schema", "json_schema": format}));
    }
    let limit = match style.max_tokens_name {
        MaxTokensName::MaxTokens => "max_tokens",
        MaxTokensName::MaxCompletionTokens => "max_completion_tokens",
    };
    let parameters = [
        ("parallel_tool_calls", request.parallel_tool_calls.map(Value::from)),
        ("temperature", request.temperature.map(Value::from)),
        ("top_p", request.top_p.map(Value::from)),
        (limit, request.max_tokens.map(Value::from)),
        ("stop", (!request.stop.is_empty()).then(|| json!(request.stop))),
        ("reasoning_effort", request.effort.map(|effort| effort.as_str().into())),
        ("stream", style.stream.then(|| true.into())),
        ("stream_options", style.stream.then(|| json!({"include_usage": true}))),
    ];
    body.extend(parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(body)
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { content } => json!({"role": "system", "content": content}),
        Message::User { content } => json!({"role": "user", "content": parts(content)}),
        Message::Assistant { content } => {
            let said: String = content.iter().filter_map(Said::text).collect();
            let calls: Vec<Value> = content.iter().filter_map(Said::tool_call).map(call).collect();
            let mut message = Map::new();
            message.insert("role".into(), "assistant".into());
            message
                .insert("content".into(), if said.is_empty() && !calls.is_empty() { Value::Null } else { said.into() });
            if !calls.is_empty() {
                message.insert("tool_calls".into(), calls.into());
            }
            Value::Object(message)
        }
        Message::Tool { call, content, .. } => {
            json!({"role": "tool", "tool_call_id": call, "content": texts(content)})
        }
    }
}

fn call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text()}})
}

/// One text stays a text: every server knows that form.
fn parts(parts: &[Part]) -> Value {
    if let [Part::Text { text }] = parts {
        return text.as_str().into();
    }
    let part = |part: &Part| match part {
        Part::Text { text } => json!({"type": "text", "text": text}),
        Part::Image { url } => json!({"type": "image_url", "image_url": {"url": url}}),
    };
    parts.iter().map(part).collect()
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

pub(super) fn answer(request: &ModelRequest, body: &Value) -> Result<ModelAnswer, ModelError> {
    // Some gateways answer 200 with an error inside.
    if body.get("choices").is_none() && body.get("error").is_some_and(|e| !e.is_null()) {
        return Err(error::in_stream(body));
    }
    let Some(choice) = body.pointer("/choices/0") else { return Err(unreadable(FORMAT, "there is no choice")) };
    let Some(message) = choice.get("message") else { return Err(unreadable(FORMAT, "there is no message")) };
    let mut drawn = Drawn { model: text_or_empty(body, "/model"), ..Drawn::default() };
    drawn.take(message, true);
    drawn.finish = text(choice, "/finish_reason").map(str::to_owned).or(Some("stop".into()));
    drawn.usage(body);
    drawn.into_answer(request)
}

/// What has been drawn from a message or from the pieces of one.
#[derive(Debug, Default)]
struct Drawn {
    model: String,
    text: String,
    reasoning: String,
    refusal: String,
    calls: Vec<DrawnCall>,
    finish: Option<String>,
    tokens: Tokens,
}

#[derive(Debug, Default)]
struct DrawnCall {
    /// The service's number of the call; a service that gives none sends each call in one piece.
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Drawn {
    /// Takes a whole message, or a piece of one; gives the text that it brought.
    fn take(&mut self, message: &Value, whole: bool) -> String {
        let said = match message.get("content") {
            Some(Value::String(said)) => said.clone(),
            Some(Value::Array(_)) => items(message, "/content").filter_map(|part| text(part, "/text")).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
        };
        self.text.push_str(&said);
        self.refusal.push_str(text(message, "/refusal").unwrap_or_default());
        let thought = text(message, "/reasoning_content").or_else(|| text(message, "/reasoning"));
        self.reasoning.push_str(thought.unwrap_or_default());
        for piece in items(message, "/tool_calls") {
            let call = self.call(piece, whole);
            if let Some(id) = text(piece, "/id").filter(|id| !id.is_empty()) {
                id.clone_into(&mut call.id);
            }
            call.name.push_str(text(piece, "/function/name").unwrap_or_default());
            match piece.pointer("/function/arguments") {
                Some(Value::String(arguments)) => call.arguments.push_str(arguments),
                // Some local servers send an object.
                Some(object @ Value::Object(_)) => call.arguments.push_str(&object.to_string()),
                Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {}
            }
        }
        said
    }

    /// The call that a piece belongs to.
    fn call(&mut self, piece: &Value, whole: bool) -> &mut DrawnCall {
        let index = piece.get("index").and_then(Value::as_u64);
        let id = text(piece, "/id").unwrap_or_default();
        let known = match index {
            _ if whole => None,
            Some(_) => self.calls.iter().position(|call| call.index == index),
            None => self.calls.len().checked_sub(1).filter(|last| id.is_empty() || self.calls[*last].id == id),
        };
        let place = known.unwrap_or_else(|| {
            self.calls.push(DrawnCall { index, ..DrawnCall::default() });
            self.calls.len() - 1
        });
        &mut self.calls[place]
    }

    fn usage(&mut self, body: &Value) {
        let Some(usage) = body.get("usage").filter(|u| u.is_object()) else { return };
        self.tokens = Tokens {
            input: number(usage, "/prompt_tokens"),
            input_cached: number(usage, "/prompt_tokens_details/cached_tokens"),
            input_kept: 0,
            output: number(usage, "/completion_tokens"),
            reasoning: number(usage, "/completion_tokens_details/reasoning_tokens"),
        };
    }

    fn into_answer(self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        let Some(finish) = self.finish else { return Err(cut()) };
        let stop = match finish.as_str() {
            _ if !self.refusal.is_empty() => Stop::Refusal,
            // Some servers say `stop` all the same.
            "stop" | "eos" | "tool_calls" | "function_call" if !self.calls.is_empty() => Stop::ToolCalls,
            "stop" | "eos" | "tool_calls" | "function_call" => Stop::End,
            "length" => Stop::Length,
            "content_filter" => Stop::Filter,
            _ => Stop::Other,
        };
        let mut content = Vec::new();
        if !self.reasoning.is_empty() {
            // Those who send thoughts in this format do not want them back.
            content.push(Said::Reasoning { text: self.reasoning, format: FORMAT, block: Value::Null });
        }
        if !self.text.is_empty() {
            content.push(Said::Text { text: self.text });
        }
        content.extend(self.calls.into_iter().enumerate().map(|(index, call)| {
            let id = if call.id.is_empty() { own_call_id(request.messages.len(), index) } else { call.id };
            Said::ToolCall(ToolCall { id, name: call.name, arguments: ToolCall::read_arguments(&call.arguments) })
        }));
        let model = if self.model.is_empty() { request.model.clone() } else { self.model };
        let refusal = Some(self.refusal).filter(|r| !r.is_empty());
        Ok(ModelAnswer { model, content, stop, tokens: self.tokens, refusal })
    }
}

/// Puts a stream together.
#[derive(Debug)]
pub struct Assembly {
    request: ModelRequest,
    drawn: Drawn,
}

impl Assembly {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self { request: request.clone(), drawn: Drawn::default() }
    }

    pub(super) fn take(&mut self, data: &str) -> Result<Piece, ModelError> {
        if data.trim() == "[DONE]" {
            return Ok(Piece { done: true, ..Piece::default() });
        }
        let chunk: Value = serde_json::from_str(data).map_err(|e| unreadable(FORMAT, &e.to_string()))?;
        if chunk.get("error").is_some_and(|e| !e.is_null()) {
            return Err(error::in_stream(&chunk));
        }
        if let (true, Some(model)) = (self.drawn.model.is_empty(), text(&chunk, "/model")) {
            model.clone_into(&mut self.drawn.model);
        }
        self.drawn.usage(&chunk);
        let mut piece = Piece::default();
        for choice in items(&chunk, "/choices").take(1) {
            if let Some(delta) = choice.get("delta") {
                piece.text = self.drawn.take(delta, false);
            }
            if let Some(finish) = text(choice, "/finish_reason") {
                self.drawn.finish = Some(finish.to_owned());
            }
        }
        let drawn = &self.drawn;
        piece.begun = !drawn.text.is_empty()
            || !drawn.calls.is_empty()
            || !drawn.reasoning.is_empty()
            || !drawn.refusal.is_empty()
            || drawn.finish.is_some();
        Ok(piece)
    }

    pub(super) fn finish(self) -> Result<ModelAnswer, ModelError> {
        self.drawn.into_answer(&self.request)
    }
}
