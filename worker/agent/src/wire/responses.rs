//! OpenAI's responses, used without anything kept at the service.

use serde_json::{Map, Value, json};
use stepmill_worker_engine::model::{
    Format, Message, ModelAnswer, ModelError, ModelErrorKind, ModelRequest, Part, Said, Stop, Tokens, ToolCall,
    ToolChoice, texts,
};

use super::value::{items, number, text, text_or_empty};
use super::{Piece, Style, cut, error, own_call_id, schema, unreadable};

const FORMAT: Format = Format::OpenaiResponses;

pub(super) fn body(request: &ModelRequest, style: &Style) -> Result<Map<String, Value>, ModelError> {
    if !request.stop.is_empty() {
        let text = "the format of OpenAI responses has no `stop`; leave it out, or use chat completions";
        return Err(ModelError::new(ModelErrorKind::BadRequest, text));
    }
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("input".into(), request.messages.iter().flat_map(message).collect());
    body.insert("store".into(), false.into());
    if !request.tools.is_empty() {
        let tool = |tool: &stepmill_worker_engine::model::Tool| {
            json!({"type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters, "strict": false})
        };
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        body.insert("tool_choice".into(), choice(&request.tool_choice));
    }
    if let Some(schema) = &request.schema {
        let strict = schema::is_strict(&schema.schema);
        let format = json!({"type": "json_schema", "name": schema.name, "schema": schema.schema, "strict": strict});
        body.insert("text".into(), json!({ "format": format }));
    }
    let parameters = [
        ("parallel_tool_calls", request.parallel_tool_calls.map(Value::from)),
        ("temperature", request.temperature.map(Value::from)),
        ("top_p", request.top_p.map(Value::from)),
        ("max_output_tokens", request.max_tokens.map(Value::from)),
        ("reasoning", request.effort.map(|effort| json!({"effort": effort.as_str()}))),
        // Without it, thoughts could not be sent back: the service keeps nothing. Models that do not think refuse it.
        ("include", request.effort.map(|_| json!(["reasoning.encrypted_content"]))),
        ("stream", style.stream.then(|| true.into())),
    ];
    body.extend(parameters.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(body)
}

fn message(message: &Message) -> Vec<Value> {
    match message {
        Message::System { content } => vec![json!({"role": "system", "content": content})],
        Message::User { content } => vec![json!({"role": "user", "content": parts(content)})],
        Message::Assistant { content } => content.iter().filter_map(said).collect(),
        Message::Tool { call, content, .. } => {
            vec![json!({"type": "function_call_output", "call_id": call, "output": texts(content)})]
        }
    }
}

fn parts(parts: &[Part]) -> Value {
    let part = |part: &Part| match part {
        Part::Text { text } => json!({"type": "input_text", "text": text}),
        Part::Image { url } => json!({"type": "input_image", "image_url": url}),
    };
    parts.iter().map(part).collect()
}

fn said(said: &Said) -> Option<Value> {
    match said {
        Said::Text { text } => Some(json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]})),
        Said::ToolCall(call) => Some(json!({"type": "function_call", "call_id": call.id, "name": call.name,
            "arguments": call.arguments_text()})),
        Said::Reasoning { format, block, .. } => (*format == FORMAT && block.is_object()).then(|| block.clone()),
    }
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "name": name}),
    }
}

pub(super) fn answer(request: &ModelRequest, body: &Value) -> Result<ModelAnswer, ModelError> {
    if body.get("error").is_some_and(|e| !e.is_null()) {
        return Err(error::in_stream(body));
    }
    if body.get("output").and_then(Value::as_array).is_none() {
        return Err(unreadable(FORMAT, "there is no output"));
    }
    let (mut content, mut refusal) = (Vec::new(), String::new());
    for item in items(body, "/output") {
        read(item, request, &mut content, &mut refusal);
    }
    let stop = match (text(body, "/status"), text(body, "/incomplete_details/reason")) {
        _ if !refusal.is_empty() => Stop::Refusal,
        (Some("incomplete"), Some("max_output_tokens")) => Stop::Length,
        (Some("incomplete"), Some("content_filter")) => Stop::Filter,
        (Some("incomplete"), _) => Stop::Other,
        _ if content.iter().any(|said| said.tool_call().is_some()) => Stop::ToolCalls,
        _ => Stop::End,
    };
    let model = text(body, "/model").unwrap_or(&request.model).to_owned();
    let tokens = Tokens {
        input: number(body, "/usage/input_tokens"),
        input_cached: number(body, "/usage/input_tokens_details/cached_tokens"),
        input_kept: 0,
        output: number(body, "/usage/output_tokens"),
        reasoning: number(body, "/usage/output_tokens_details/reasoning_tokens"),
    };
    Ok(ModelAnswer { model, content, stop, tokens, refusal: Some(refusal).filter(|r| !r.is_empty()) })
}

fn read(item: &Value, request: &ModelRequest, content: &mut Vec<Said>, refusal: &mut String) {
    match text(item, "/type").unwrap_or_default() {
        "message" => {
            for part in items(item, "/content") {
                refusal.push_str(text(part, "/refusal").unwrap_or_default());
                if let Some(text) = text(part, "/text").filter(|t| !t.is_empty()) {
                    content.push(Said::Text { text: text.to_owned() });
                }
            }
        }
        "function_call" => {
            let id = text(item, "/call_id").filter(|id| !id.is_empty()).map(str::to_owned);
            content.push(Said::ToolCall(ToolCall {
                id: id.unwrap_or_else(|| own_call_id(request.messages.len(), content.len())),
                name: text_or_empty(item, "/name"),
                arguments: ToolCall::read_arguments(text(item, "/arguments").unwrap_or_default()),
            }));
        }
        "reasoning" => {
            let summary: Vec<&str> = items(item, "/summary").filter_map(|part| text(part, "/text")).collect();
            // Without its encrypted content, the service would look the item up by its id and not find it.
            let block = match text(item, "/encrypted_content") {
                Some(_) => item.clone(),
                None => Value::Null,
            };
            content.push(Said::Reasoning { text: summary.join("\n"), format: FORMAT, block });
        }
        _ => {}
    }
}

/// Puts a stream together. Its last event holds the whole response; the pieces are for those who read along.
#[derive(Debug)]
pub struct Assembly {
    request: ModelRequest,
    items: Vec<Value>,
    begun: bool,
    response: Option<Value>,
}

impl Assembly {
    pub(super) fn new(request: &ModelRequest) -> Self {
        Self { request: request.clone(), items: Vec::new(), begun: false, response: None }
    }

    pub(super) fn take(&mut self, data: &str) -> Result<Piece, ModelError> {
        if data.trim() == "[DONE]" {
            return Ok(Piece { done: true, begun: self.begun, ..Piece::default() });
        }
        let event: Value = serde_json::from_str(data).map_err(|e| unreadable(FORMAT, &e.to_string()))?;
        let mut piece = Piece::default();
        match text(&event, "/type").unwrap_or_default() {
            "response.output_text.delta" => piece.text = text_or_empty(&event, "/delta"),
            "response.output_item.done" => self.items.extend(event.get("item").cloned()),
            "response.completed" | "response.incomplete" => {
                self.response = event.get("response").cloned();
                piece.done = true;
            }
            "response.failed" => return Err(error::in_stream(event.get("response").unwrap_or(&Value::Null))),
            "error" => return Err(error::in_stream(&event)),
            "response.created" | "response.in_progress" | "response.queued" => {
                return Ok(Piece { begun: self.begun, ..piece });
            }
            _ => {}
        }
        self.begun = true;
        piece.begun = true;
        Ok(piece)
    }

    pub(super) fn finish(self) -> Result<ModelAnswer, ModelError> {
        let Some(mut response) = self.response else { return Err(cut()) };
        // Some gateways leave the output out of the last event.
        if items(&response, "/output").next().is_none() {
            response["output"] = self.items.into();
        }
        answer(&self.request, &response)
    }
}
