//! Anthropic's messages, from the service's side; see [`super::chat`] for why nothing is shared with the translation.

use serde_json::{Map, Value, json};
use stepmill_worker_engine::model::{
    AnswerSchema, Format, Message, ModelAnswer, ModelRequest, Part, Said, Stop, Tool, ToolCall, ToolChoice,
};

use super::chat::check_tool;
use super::refuse::Refused;
use super::{pieces, slices};

pub(super) fn read(body: &Value) -> Result<ModelRequest, Refused> {
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|m| !m.is_empty()) else {
        return Err(Refused::wrong("model: Field required"));
    };
    let Some(max_tokens) = body.get("max_tokens").and_then(Value::as_u64).filter(|n| *n > 0) else {
        return Err(Refused::wrong("max_tokens: Field required"));
    };
    let Some(given) = body.get("messages").and_then(Value::as_array).filter(|m| !m.is_empty()) else {
        return Err(Refused::wrong("messages: at least one message is required"));
    };
    check_calls(given)?;
    let mut messages: Vec<Message> = system(body).into_iter().map(Message::system).collect();
    for (at, message) in given.iter().enumerate() {
        read_message(at, message, &mut messages)?;
    }
    if !matches!(given[0].get("role").and_then(Value::as_str), Some("user")) {
        return Err(Refused::wrong("messages: first message must use the \"user\" role"));
    }
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let tools = tools.map(tool).collect::<Result<Vec<_>, _>>()?;
    let tool_choice = match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some(_) if tools.is_empty() => {
            return Err(Refused::wrong("tool_choice may only be specified while providing tools"));
        }
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => {
            let name = body.pointer("/tool_choice/name").and_then(Value::as_str).unwrap_or_default();
            ToolChoice::Named(name.to_owned())
        }
        Some(_) | None => ToolChoice::Auto,
    };
    // This format gives a schema no name of its own; rules know it by its title.
    let schema = body.pointer("/output_config/format/schema").map(|schema| {
        let title = schema.get("title").and_then(Value::as_str).unwrap_or("answer");
        AnswerSchema {
            name: title.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_"),
            schema: schema.clone(),
        }
    });
    Ok(ModelRequest {
        model: model.to_owned(),
        messages,
        tools,
        tool_choice,
        schema,
        temperature: body.get("temperature").and_then(Value::as_f64),
        max_tokens: Some(max_tokens),
        ..ModelRequest::default()
    })
}

fn system(body: &Value) -> Vec<&str> {
    match body.get("system") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(blocks)) => blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

fn blocks<'m>(message: &'m Value, kind: &'m str) -> impl Iterator<Item = &'m Value> {
    let blocks = message.get("content").and_then(Value::as_array).into_iter().flatten();
    blocks.filter(move |block| block.get("type").and_then(Value::as_str) == Some(kind))
}

fn ids<'m>(message: &'m Value, kind: &'m str, field: &'m str) -> Vec<&'m str> {
    blocks(message, kind).filter_map(|block| block.get(field)?.as_str()).collect()
}

/// The message after one with tool calls begins with one result for each of them, and no other message has results.
fn check_calls(messages: &[Value]) -> Result<(), Refused> {
    let mut seen: Vec<&str> = Vec::new();
    let mut before: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let results = ids(message, "tool_result", "tool_use_id");
        if let Some(stray) = results.iter().find(|id| !before.contains(id)) {
            return Err(Refused::wrong(&format!(
                "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. Each `tool_result` block must \
                 have a corresponding `tool_use` block in the previous message"
            )));
        }
        if let Some(twice) = results.iter().enumerate().find(|(n, id)| results[..*n].contains(id)) {
            return Err(Refused::wrong(&format!(
                "messages.{at}: each tool_use must have a single result: {}",
                twice.1
            )));
        }
        none_open(at, &before, &results)?;
        let kinds = message.get("content").and_then(Value::as_array).into_iter().flatten();
        let late =
            kinds.skip(results.len()).any(|block| block.get("type").and_then(Value::as_str) == Some("tool_result"));
        if late {
            return Err(Refused::wrong(&format!("messages.{at}: tool_result blocks must come first in the content")));
        }
        before = ids(message, "tool_use", "id");
        if let Some(id) = before.iter().find(|id| seen.contains(id)) {
            return Err(Refused::wrong(&format!("messages.{at}: `tool_use` ids must be unique: {id}")));
        }
        seen.extend(&before);
    }
    none_open(messages.len(), &before, &[])
}

fn none_open(at: usize, asked: &[&str], results: &[&str]) -> Result<(), Refused> {
    let open: Vec<&str> = asked.iter().filter(|id| !results.contains(id)).copied().collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Refused::wrong(&format!(
        "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must \
         have a corresponding `tool_result` block in the next message",
        at.saturating_sub(1),
        open.join(", ")
    )))
}

fn read_message(at: usize, message: &Value, into: &mut Vec<Message>) -> Result<(), Refused> {
    let wrong = |text: &str| Refused::wrong(&format!("messages.{at}: {text}"));
    let plain;
    let content = match message.get("content") {
        Some(Value::String(text)) => {
            plain = vec![json!({"type": "text", "text": text})];
            &plain
        }
        Some(Value::Array(blocks)) => blocks,
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            return Err(wrong("content: Field required"));
        }
    };
    if content.is_empty() {
        return Err(wrong("all messages must have non-empty content"));
    }
    let is_empty = |block: &Value| block.get("type").and_then(Value::as_str) == Some("text") && block["text"] == "";
    if content.iter().any(is_empty) {
        return Err(wrong("text content blocks must be non-empty"));
    }
    match message.get("role").and_then(Value::as_str) {
        Some("user") => {
            for block in blocks(message, "tool_result") {
                into.push(Message::Tool {
                    call: block.get("tool_use_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    content: result(block),
                    failed: block.get("is_error") == Some(&Value::Bool(true)),
                });
            }
            let said: Vec<Part> = content.iter().filter_map(part).collect();
            if !said.is_empty() {
                into.push(Message::User { content: said });
            }
            Ok(())
        }
        Some("assistant") => {
            let said = content.iter().map(said).collect::<Option<Vec<_>>>();
            into.push(Message::Assistant { content: said.ok_or_else(|| wrong("a block lacks something"))? });
            Ok(())
        }
        Some(_) | None => Err(wrong("role must be \"user\" or \"assistant\"")),
    }
}

fn result(block: &Value) -> Vec<Part> {
    match block.get("content") {
        Some(Value::String(text)) => vec![Part::Text { text: text.clone() }],
        Some(Value::Array(parts)) => parts.iter().filter_map(part).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

fn part(block: &Value) -> Option<Part> {
    match block.get("type")?.as_str()? {
        "text" => Some(Part::Text { text: block.get("text")?.as_str()?.to_owned() }),
        "image" => Some(Part::Image {
            url: block.pointer("/source/url").and_then(Value::as_str).unwrap_or_default().to_owned(),
        }),
        _ => None,
    }
}

fn said(block: &Value) -> Option<Said> {
    match block.get("type")?.as_str()? {
        "text" => Some(Said::Text { text: block.get("text")?.as_str()?.to_owned() }),
        "tool_use" => Some(Said::ToolCall(ToolCall {
            id: block.get("id")?.as_str()?.to_owned(),
            name: block.get("name")?.as_str()?.to_owned(),
            arguments: block.get("input").filter(|input| input.is_object())?.clone(),
        })),
        _ => Some(Said::Reasoning { text: String::new(), format: Format::Anthropic, block: block.clone() }),
    }
}

fn tool(tool: &Value) -> Result<Tool, Refused> {
    let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
    let parameters = tool.get("input_schema").cloned().unwrap_or_default();
    check_tool(name, &parameters)?;
    let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
    Ok(Tool { name: name.to_owned(), description: description.to_owned(), parameters })
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::ToolCalls => "tool_use",
        Stop::Length => "max_tokens",
        Stop::Window => "model_context_window_exceeded",
        Stop::StopText => "stop_sequence",
        Stop::Refusal | Stop::Filter => "refusal",
        Stop::Paused => "pause_turn",
        Stop::End | Stop::Other => "end_turn",
    }
}

/// Text, and tool calls with their input as text.
fn content(answer: &ModelAnswer) -> Vec<(Value, String)> {
    let mut blocks: Vec<(Value, String)> = Vec::new();
    for said in &answer.content {
        match said {
            Said::Text { text } => blocks.push((json!({"type": "text", "text": ""}), text.clone())),
            Said::ToolCall(call) => blocks.push((
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}),
                call.arguments_text(),
            )),
            Said::Reasoning { .. } => {}
        }
    }
    if let Some(words) = &answer.refusal {
        blocks.push((json!({"type": "text", "text": ""}), words.clone()));
    }
    blocks
}

fn is_text(block: &Value) -> bool {
    block["type"] == "text"
}

pub(super) fn whole(answer: &ModelAnswer, id: &str) -> Value {
    let blocks = content(answer).into_iter().map(|(mut block, text)| {
        if is_text(&block) {
            block["text"] = text.into();
        } else {
            // Here an input is always an object.
            let input: Option<Map<String, Value>> = serde_json::from_str(&text).ok();
            block["input"] = input.unwrap_or_default().into();
        }
        block
    });
    let content: Vec<Value> = blocks.collect();
    json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": answer.model, "content": content,
        "stop_reason": reason(answer.stop), "stop_sequence": null,
        "usage": {"input_tokens": answer.tokens.input, "output_tokens": answer.tokens.output}})
}

pub(super) fn events(answer: &ModelAnswer, id: &str) -> Vec<String> {
    let usage = json!({"input_tokens": answer.tokens.input, "output_tokens": 1});
    let message = json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": answer.model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage});
    let mut all = vec![json!({"type": "message_start", "message": message})];
    for (index, (block, text)) in content(answer).into_iter().enumerate() {
        all.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        if index == 0 {
            all.push(json!({"type": "ping"}));
        }
        let delta = |delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        if is_text(&block) {
            all.extend(pieces(&text).map(|piece| delta(json!({"type": "text_delta", "text": piece}))));
        } else {
            all.extend(slices(&text).map(|piece| delta(json!({"type": "input_json_delta", "partial_json": piece}))));
        }
        all.push(json!({"type": "content_block_stop", "index": index}));
    }
    all.push(json!({"type": "message_delta", "delta": {"stop_reason": reason(answer.stop), "stop_sequence": null},
        "usage": {"output_tokens": answer.tokens.output}}));
    all.push(json!({"type": "message_stop"}));
    super::named(&all)
}
