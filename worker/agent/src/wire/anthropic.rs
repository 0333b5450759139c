//! Anthropic's messages.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stepmill_worker_engine::model::{
    Format, Message, ModelAnswer, ModelError, ModelRequest, Part, Said, Stop, Tokens, ToolCall, ToolChoice,
};

use super::value::{items, number, text, text_or_empty};
use super::{Piece, Style, cut, error, unreadable};
use crate::limit;

/// The version of the format, for the header `anthropic-version`.
pub const VERSION: &str = "2023-06-01";
const FORMAT: Format = Format::Anthropic;

pub(super) fn body(request: &ModelRequest, style: &Style) -> Map<String, Value> {
    let mut system: Vec<Value> = Vec::new();
    for message in &request.messages {
        if let Message::System { content } = message {
            system.push(json!({"type": "text", "text": content}));
        }
    }
    let mut messages = messages(&request.messages);
    // A conversation that goes on is read again with each request; a mark costs extra where nothing follows.
    let goes_on = !request.tools.is_empty() || request.messages.iter().any(|m| matches!(m, Message::Assistant { .. }));
    if style.prompt_cache && goes_on {
        mark(system.last_mut());
        mark(messages.last_mut().and_then(|m| m.get_mut("content")?.as_array_mut()?.last_mut()));
    }
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("max_tokens".into(), json!(request.max_tokens.unwrap_or(limit::MAX_TOKENS_UNSAID)));
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), messages.into());
    if !request.tools.is_empty() {
        let tool = |tool: &stepmill_worker_engine::model::Tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters});
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        body.insert("tool_choice".into(), choice(request));
    }
    let mut config = Map::new();
    if let Some(schema) = &request.schema {
        config.insert("format".into(), json!({"type": "json_schema", "schema": schema.schema}));
    }
    if let Some(effort) = request.effort {
        let word = if effort.as_str() == "minimal" { "low" } else { effort.as_str() };
        config.insert("effort".into(), word.into());
    }
    let parameters = [
        ("output_config", (!config.is_empty()).then_some(Value::Object(config))),
        ("temperature", request.temperature.map(Value::from)),
        ("top_p", request.top_p.map(Value::from)),
        ("stop_sequences", (!request.stop.is_empty()).then(|| json!(request.stop))),
        ("stream", style.stream.then(|| true.into())),
    ];
    body.extend(parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    body
}

fn mark(block: Option<&mut Value>) {
    if let Some(Value::Object(block)) = block {
        block.insert("cache_control".into(), json!({"type": "ephemeral"}));
    }
}

/// The results of all calls of one message, and what the user says then, have to stand in one message.
fn messages(messages: &[Message]) -> Vec<Value> {
    let mut all: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::System { .. } => continue,
            Message::User { content } => ("user", parts(content)),
            Message::Assistant { content } => ("assistant", content.iter().filter_map(said).collect()),
            Message::Tool { call, content, failed } => {
                let mut block = json!({"type": "tool_result", "tool_use_id": call, "content": parts(content)});
                if *failed {
                    block["is_error"] = true.into();
                }
                ("user", vec![block])
            }
        };
        match all.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            Some(_) | None => all.push((role, blocks)),
        }
    }
    all.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

fn parts(parts: &[Part]) -> Vec<Value> {
    let part = |part: &Part| match part {
        Part::Text { text } if text.is_empty() => None,
        Part::Text { text } => Some(json!({"type": "text", "text": text})),
        Part::Image { url } => Some(json!({"type": "image", "source": image(url)})),
    };
    parts.iter().filter_map(part).collect()
}

fn image(url: &str) -> Value {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, data)) => json!({"type": "base64", "media_type": media_type, "data": data}),
        None => json!({"type": "url", "url": url}),
    }
}

fn said(said: &Said) -> Option<Value> {
    match said {
        Said::Text { text } if text.is_empty() => None,
        Said::Text { text } => Some(json!({"type": "text", "text": text})),
        Said::ToolCall(call) => {
            let input = match &call.arguments {
                object @ Value::Object(_) => object.clone(),
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                    json!({ "unreadable": other })
                }
            };
            Some(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}))
        }
        Said::Reasoning { format, block, .. } => (*format == FORMAT && block.is_object()).then(|| block.clone()),
    }
}

fn choice(request: &ModelRequest) -> Value {
    let mut choice = match &request.tool_choice {
        ToolChoice::Auto => json!({"type": "auto"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required => json!({"type": "any"}),
        ToolChoice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if request.parallel_tool_calls == Some(false) && request.tool_choice != ToolChoice::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    choice
}

pub(super) fn answer(request: &ModelRequest, body: &Value) -> Result<ModelAnswer, ModelError> {
    if text(body, "/type") == Some("error") {
        return Err(error::in_stream(body));
    }
    if body.get("content").and_then(Value::as_array).is_none() {
        return Err(unreadable(FORMAT, "there is no content"));
    }
    let content = items(body, "/content").filter_map(read).collect();
    let stop = stop(text(body, "/stop_reason").unwrap_or("end_turn"));
    Ok(finished(request, text_or_empty(body, "/model"), content, stop, tokens(body)))
}

/// Everything but text and tool calls is kept as it is: the service wants its thoughts back, and its own tools' results.
fn read(block: &Value) -> Option<Said> {
    match text(block, "/type")? {
        "text" => Some(Said::Text { text: text_or_empty(block, "/text") }).filter(|said| said.text() != Some("")),
        "tool_use" => Some(Said::ToolCall(ToolCall {
            id: text_or_empty(block, "/id"),
            name: text_or_empty(block, "/name"),
            arguments: block.get("input").cloned().unwrap_or_else(|| json!({})),
        })),
        _ => Some(Said::Reasoning { text: text_or_empty(block, "/thinking"), format: FORMAT, block: block.clone() }),
    }
}

fn stop(word: &str) -> Stop {
    match word {
        "end_turn" => Stop::End,
        "tool_use" => Stop::ToolCalls,
        "max_tokens" => Stop::Length,
        "model_context_window_exceeded" => Stop::Window,
        "stop_sequence" => Stop::StopText,
        "refusal" => Stop::Refusal,
        "pause_turn" => Stop::Paused,
        _ => Stop::Other,
    }
}

/// The service counts what it read in three parts.
fn tokens(message: &Value) -> Tokens {
    let (cached, kept) =
        (number(message, "/usage/cache_read_input_tokens"), number(message, "/usage/cache_creation_input_tokens"));
    Tokens {
        input: number(message, "/usage/input_tokens").saturating_add(cached).saturating_add(kept),
        input_cached: cached,
        input_kept: kept,
        output: number(message, "/usage/output_tokens"),
        reasoning: 0,
    }
}

fn finished(request: &ModelRequest, model: String, content: Vec<Said>, stop: Stop, tokens: Tokens) -> ModelAnswer {
    let model = if model.is_empty() { request.model.clone() } else { model };
    let mut answer = ModelAnswer { model, content, stop, tokens, refusal: None };
    if stop == Stop::Refusal {
        answer.refusal = Some(answer.text());
    }
    answer
}

/// Puts a stream together.
#[derive(Debug)]
pub struct Assembly {
    request: ModelRequest,
    model: String,
    blocks: BTreeMap<u64, Block>,
    tokens: Tokens,
    stop: Option<Stop>,
    ended: bool,
}

/// A block that grows, and the JSON of its input as far as it has come.
#[derive(Debug)]
struct Block {
    block: Value,
    input: String,
}

impl Assembly {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self {
            request: request.clone(),
            model: String::new(),
            blocks: BTreeMap::new(),
            tokens: Tokens::default(),
            stop: None,
            ended: false,
        }
    }

    pub(super) fn take(&mut self, data: &str) -> Result<Piece, ModelError> {
        let event: Value = serde_json::from_str(data).map_err(|e| unreadable(FORMAT, &e.to_string()))?;
        let mut piece = Piece::default();
        match text(&event, "/type").unwrap_or_default() {
            "message_start" => {
                self.model = text_or_empty(&event, "/message/model");
                self.tokens = tokens(event.get("message").unwrap_or(&Value::Null));
            }
            "content_block_start" => {
                let block = event.get("content_block").cloned().unwrap_or_default();
                piece.text = text_or_empty(&block, "/text");
                self.blocks.insert(number(&event, "/index"), Block { block, input: String::new() });
            }
            "content_block_delta" => piece.text = self.grow(&event)?,
            "message_delta" => {
                if let Some(word) = text(&event, "/delta/stop_reason") {
                    self.stop = Some(stop(word));
                }
                // The counts are of the whole message so far; those that are left out have not changed.
                let now = tokens(&event);
                self.tokens.output = now.output.max(self.tokens.output);
                if event.pointer("/usage/input_tokens").is_some_and(Value::is_u64) {
                    self.tokens = Tokens { output: self.tokens.output, ..now };
                }
            }
            "message_stop" => {
                self.ended = true;
                piece.done = true;
            }
            "error" => return Err(error::in_stream(&event)),
            // `ping`, `content_block_stop`, and whatever will be added.
            _ => {}
        }
        piece.begun = !self.blocks.is_empty() || self.stop.is_some();
        Ok(piece)
    }

    fn grow(&mut self, event: &Value) -> Result<String, ModelError> {
        let Some(Block { block, input }) = self.blocks.get_mut(&number(event, "/index")) else {
            return Err(unreadable(FORMAT, "a piece belongs to no block"));
        };
        let mut add = |name: &str| {
            let more = text_or_empty(event, &format!("/delta/{name}"));
            let known = text_or_empty(block, &format!("/{name}"));
            block[name] = format!("{known}{more}").into();
            more
        };
        match text(event, "/delta/type").unwrap_or_default() {
            "text_delta" => return Ok(add("text")),
            "thinking_delta" => drop(add("thinking")),
            "signature_delta" => drop(add("signature")),
            "input_json_delta" => input.push_str(text(event, "/delta/partial_json").unwrap_or_default()),
            _ => {}
        }
        Ok(String::new())
    }

    pub(super) fn finish(self) -> Result<ModelAnswer, ModelError> {
        let (Some(stop), true) = (self.stop, self.ended) else { return Err(cut()) };
        let content = self.blocks.into_values().filter_map(|Block { mut block, input }| {
            if !input.is_empty() {
                block["input"] = ToolCall::read_arguments(&input);
            }
            read(&block)
        });
        Ok(finished(&self.request, self.model, content.collect(), stop, self.tokens))
    }
}
