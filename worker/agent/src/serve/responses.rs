//! Responses, from the service's side; see [`super::chat`] for why nothing is shared with the translation.

use serde_json::{Value, json};
use stepmill_worker_engine::model::{
    AnswerSchema, Format, Message, ModelAnswer, ModelRequest, Part, Said, Stop, Tool, ToolCall, ToolChoice,
};

use super::chat::check_tool;
use super::refuse::Refused;
use super::{pieces, slices};

pub(super) fn read(body: &Value) -> Result<ModelRequest, Refused> {
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|m| !m.is_empty()) else {
        return Err(Refused::wrong("Missing required parameter: 'model'."));
    };
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(body.get("instructions").and_then(Value::as_str).map(Message::system));
    match body.get("input") {
        Some(Value::String(text)) => messages.push(Message::user(text)),
        Some(Value::Array(items)) if !items.is_empty() => {
            check_calls(items)?;
            for (at, item) in items.iter().enumerate() {
                read_item(at, item, &mut messages)?;
            }
        }
        Some(_) | None => return Err(Refused::wrong("Missing required parameter: 'input'.")),
    }
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let tools = tools.map(tool).collect::<Result<Vec<_>, _>>()?;
    let tool_choice = match body.get("tool_choice") {
        Some(Value::String(word)) if word == "required" => ToolChoice::Required,
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::Object(choice)) => {
            ToolChoice::Named(choice.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        Some(_) | None => ToolChoice::Auto,
    };
    let schema = body.pointer("/text/format").filter(|f| f["type"] == "json_schema").map(|given| AnswerSchema {
        name: given.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        schema: given.get("schema").cloned().unwrap_or_default(),
    });
    Ok(ModelRequest {
        model: model.to_owned(),
        messages,
        tools,
        tool_choice,
        schema,
        temperature: body.get("temperature").and_then(Value::as_f64),
        max_tokens: body.get("max_output_tokens").and_then(Value::as_u64),
        ..ModelRequest::default()
    })
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Every call has one output, behind it, and every output its call.
fn check_calls(items: &[Value]) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        let id = word(item, "call_id");
        match word(item, "type") {
            "function_call" => open.push(id),
            "function_call_output" => match open.iter().position(|known| *known == id) {
                Some(place) => {
                    open.remove(place);
                }
                None => {
                    let text = format!("No tool call found for function call output with call_id {id}.");
                    return Err(Refused::wrong(&text));
                }
            },
            "message" | "" if word(item, "role") == "user" && !open.is_empty() => break,
            _ => {}
        }
    }
    match open.first() {
        Some(id) => Err(Refused::wrong(&format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

fn read_item(at: usize, item: &Value, into: &mut Vec<Message>) -> Result<(), Refused> {
    let wrong = |text: &str| Refused::wrong(&format!("Invalid value for input[{at}]: {text}"));
    match word(item, "type") {
        "function_call" => {
            let arguments = ToolCall::read_arguments(word(item, "arguments"));
            let call = ToolCall { id: word(item, "call_id").into(), name: word(item, "name").into(), arguments };
            say(into, Said::ToolCall(call));
        }
        "function_call_output" => {
            let Some(text) = item.get("output").and_then(Value::as_str) else {
                return Err(wrong("output must be a text"));
            };
            into.push(Message::tool(word(item, "call_id"), text));
        }
        "reasoning" => {
            let text = String::new();
            say(into, Said::Reasoning { text, format: Format::OpenaiResponses, block: item.clone() });
        }
        "" | "message" => match word(item, "role") {
            "system" | "developer" => into.push(Message::system(texts(item))),
            "user" => into.push(Message::User { content: vec![Part::Text { text: texts(item) }] }),
            "assistant" => say(into, Said::Text { text: texts(item) }),
            other => return Err(wrong(&format!("there is no role '{other}'"))),
        },
        other => return Err(wrong(&format!("there is no type '{other}'"))),
    }
    Ok(())
}

/// Items of the model that follow one another are one message.
fn say(into: &mut Vec<Message>, said: Said) {
    match into.last_mut() {
        Some(Message::Assistant { content }) => content.push(said),
        Some(_) | None => into.push(Message::Assistant { content: vec![said] }),
    }
}

fn texts(item: &Value) -> String {
    match item.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(|part| word(part, "text")).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => String::new(),
    }
}

fn tool(tool: &Value) -> Result<Tool, Refused> {
    let parameters = tool.get("parameters").cloned().unwrap_or_default();
    check_tool(word(tool, "name"), &parameters)?;
    Ok(Tool { name: word(tool, "name").into(), description: word(tool, "description").into(), parameters })
}

pub(super) fn whole(answer: &ModelAnswer, id: &str) -> Value {
    let mut output: Vec<Value> = Vec::new();
    for (n, said) in answer.content.iter().enumerate() {
        output.extend(match said {
            Said::Text { text } => Some(json!({"type": "message", "id": format!("msg_{id}{n}"), "status": "completed",
                "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]})),
            Said::ToolCall(call) => {
                Some(json!({"type": "function_call", "id": format!("fc_{id}{n}"), "status": "completed",
                "call_id": call.id, "name": call.name, "arguments": call.arguments_text()}))
            }
            Said::Reasoning { .. } => None,
        });
    }
    output.extend(answer.refusal.iter().map(|words| {
        json!({"type": "message", "id": format!("msg_{id}"), "status": "completed", "role": "assistant",
            "content": [{"type": "refusal", "refusal": words}]})
    }));
    let reason = match answer.stop {
        Stop::Length | Stop::Window => Some("max_output_tokens"),
        Stop::Filter => Some("content_filter"),
        Stop::End | Stop::ToolCalls | Stop::StopText | Stop::Refusal | Stop::Paused | Stop::Other => None,
    };
    let tokens = answer.tokens;
    json!({"id": format!("resp_{id}"), "object": "response", "created_at": 0, "error": null, "model": answer.model,
        "status": if reason.is_some() { "incomplete" } else { "completed" },
        "incomplete_details": reason.map(|reason| json!({ "reason": reason })), "output": output,
        "usage": {"input_tokens": tokens.input, "output_tokens": tokens.output, "total_tokens": tokens.input + tokens.output,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}})
}

pub(super) fn events(answer: &ModelAnswer, id: &str) -> Vec<String> {
    let whole = whole(answer, id);
    let begun = json!({"id": whole["id"], "object": "response", "status": "in_progress", "output": [], "usage": null});
    let mut all = vec![json!({"type": "response.created", "response": begun})];
    for (index, item) in whole["output"].as_array().into_iter().flatten().enumerate() {
        let mut empty = item.clone();
        let delta = |kind: &str, delta: &str| json!({"type": kind, "item_id": item["id"], "output_index": index, "content_index": 0, "delta": delta});
        let deltas: Vec<Value> = match item["type"].as_str() {
            Some("function_call") => {
                empty["arguments"] = "".into();
                let kind = "response.function_call_arguments.delta";
                slices(word(item, "arguments")).map(|piece| delta(kind, piece)).collect()
            }
            Some(_) | None => {
                empty["content"] = json!([]);
                let text = item.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
                pieces(text).map(|piece| delta("response.output_text.delta", piece)).collect()
            }
        };
        all.push(json!({"type": "response.output_item.added", "output_index": index, "item": empty}));
        all.extend(deltas);
        all.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
    let kind = if whole["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
    all.push(json!({"type": kind, "response": whole}));
    for (number, event) in all.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    super::named(&all)
}
