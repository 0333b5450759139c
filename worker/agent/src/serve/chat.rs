//! Chat completions, from the service's side. What a request must be is written here anew, from the service's own rules:
//! what our translation does wrong, this must notice.

use serde_json::{Value, json};
use stepmill_worker_engine::model::{
    AnswerSchema, Message, ModelAnswer, ModelRequest, Part, Said, Stop, Tool, ToolCall, ToolChoice,
};

use super::pieces;
use super::refuse::Refused;

pub(super) fn read(body: &Value) -> Result<ModelRequest, Refused> {
    let Some(model) = body.get("model").and_then(Value::as_str).filter(|m| !m.is_empty()) else {
        return Err(Refused::wrong("you must provide a model parameter"));
    };
    let Some(given) = body.get("messages").and_then(Value::as_array).filter(|m| !m.is_empty()) else {
        return Err(Refused::wrong("'messages' must be a list with at least one message"));
    };
    check_calls(given)?;
    let messages = given.iter().enumerate().map(|(at, m)| message(at, m)).collect::<Result<Vec<_>, _>>()?;
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
    let tools = tools.map(tool).collect::<Result<Vec<_>, _>>()?;
    let tool_choice = match body.get("tool_choice") {
        Some(_) if tools.is_empty() => {
            return Err(Refused::wrong("'tool_choice' is only allowed when 'tools' are specified"));
        }
        Some(Value::String(word)) if word == "required" => ToolChoice::Required,
        Some(Value::String(word)) if word == "none" => ToolChoice::None,
        Some(Value::Object(choice)) => {
            let name = choice.get("function").and_then(|f| f.get("name")).and_then(Value::as_str);
            ToolChoice::Named(name.unwrap_or_default().to_owned())
        }
        Some(_) | None => ToolChoice::Auto,
    };
    let schema = body.pointer("/response_format/json_schema").map(|given| AnswerSchema {
        name: given.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        schema: given.get("schema").cloned().unwrap_or_default(),
    });
    let limit = body.get("max_tokens").or_else(|| body.get("max_completion_tokens")).and_then(Value::as_u64);
    Ok(ModelRequest {
        model: model.to_owned(),
        messages,
        tools,
        tool_choice,
        schema,
        temperature: body.get("temperature").and_then(Value::as_f64),
        max_tokens: limit,
        ..ModelRequest::default()
    })
}

/// Each message with tool calls is followed by one result for each of them, and there are no other results.
fn check_calls(messages: &[Value]) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if role(message) == "tool" {
            let id = message.get("tool_call_id").and_then(Value::as_str).unwrap_or_default();
            let Some(place) = open.iter().position(|known| *known == id) else {
                let text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
                return Err(Refused::wrong(&format!("Invalid parameter: {text} (messages.[{at}].role, {id})")));
            };
            open.remove(place);
            continue;
        }
        none_open(&open)?;
        let calls = message.get("tool_calls").and_then(Value::as_array);
        open.extend(calls.into_iter().flatten().filter_map(|call| call.get("id")?.as_str()));
    }
    none_open(&open)
}

fn none_open(open: &[&str]) -> Result<(), Refused> {
    if open.is_empty() {
        return Ok(());
    }
    Err(Refused::wrong(&format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
         These have no response: {}",
        open.join(", ")
    )))
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn message(at: usize, message: &Value) -> Result<Message, Refused> {
    let wrong = |text: &str| Refused::wrong(&format!("Invalid value for messages[{at}]: {text}"));
    let content = message.get("content");
    match role(message) {
        "system" | "developer" => {
            let text = content.and_then(Value::as_str).ok_or_else(|| wrong("content must be a text"))?;
            Ok(Message::system(text))
        }
        "user" => Ok(Message::User { content: parts(content).map_err(wrong)? }),
        "assistant" => {
            let mut said: Vec<Said> = Vec::new();
            if let Some(text) = content.and_then(Value::as_str) {
                said.push(Said::Text { text: text.to_owned() });
            }
            for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                said.push(Said::ToolCall(tool_call(call).ok_or_else(|| wrong("a tool call lacks something"))?));
            }
            if said.is_empty() {
                return Err(wrong("an assistant message needs content or tool_calls"));
            }
            Ok(Message::Assistant { content: said })
        }
        "tool" => {
            let call = message.get("tool_call_id").and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(Message::Tool { call, content: parts(content).map_err(wrong)?, failed: false })
        }
        other => Err(wrong(&format!("there is no role '{other}'"))),
    }
}

fn parts(content: Option<&Value>) -> Result<Vec<Part>, &'static str> {
    const WRONG: &str = "content must be a text or a list of parts";
    let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some("text") => Some(Part::Text { text: part.get("text")?.as_str()?.to_owned() }),
        Some("image_url") => Some(Part::Image { url: part.pointer("/image_url/url")?.as_str()?.to_owned() }),
        Some(_) | None => None,
    };
    match content {
        Some(Value::String(text)) => Ok(vec![Part::Text { text: text.clone() }]),
        Some(Value::Array(parts)) => parts.iter().map(|p| part(p).ok_or(WRONG)).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Err(WRONG),
    }
}

fn tool_call(call: &Value) -> Option<ToolCall> {
    let function = call.get("function")?;
    let arguments = ToolCall::read_arguments(function.get("arguments")?.as_str()?);
    let id = call.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
    (call.get("type")?.as_str()? == "function").then_some(())?;
    Some(ToolCall { id, name: function.get("name")?.as_str()?.to_owned(), arguments })
}

fn tool(tool: &Value) -> Result<Tool, Refused> {
    let function = tool.get("function").unwrap_or(&Value::Null);
    let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
    check_tool(name, function.get("parameters").unwrap_or(&json!({"type": "object"})))?;
    Ok(Tool {
        name: name.to_owned(),
        description: function.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        parameters: function.get("parameters").cloned().unwrap_or_default(),
    })
}

/// What all services want of a tool.
pub(super) fn check_tool(name: &str, parameters: &Value) -> Result<(), Refused> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(Refused::wrong(&format!("the tool name '{name}' does not match '^[a-zA-Z0-9_-]{{1,64}}$'")));
    }
    if parameters.get("type").and_then(Value::as_str) != Some("object") {
        return Err(Refused::wrong(&format!("the schema of tool '{name}' must have the type 'object'")));
    }
    Ok(())
}

fn finish(stop: Stop) -> &'static str {
    match stop {
        Stop::ToolCalls => "tool_calls",
        Stop::Length | Stop::Window => "length",
        Stop::Filter => "content_filter",
        Stop::End | Stop::StopText | Stop::Refusal | Stop::Paused | Stop::Other => "stop",
    }
}

fn usage(answer: &ModelAnswer) -> Value {
    let tokens = answer.tokens;
    json!({"prompt_tokens": tokens.input, "completion_tokens": tokens.output, "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.input_cached}})
}

fn call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text()}})
}

pub(super) fn whole(answer: &ModelAnswer, id: &str) -> Value {
    let calls: Vec<Value> = answer.tool_calls().map(call).collect();
    let text = answer.text();
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let mut message = json!({"role": "assistant", "content": content, "refusal": answer.refusal});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish(answer.stop)});
    json!({"id": format!("chatcmpl-{id}"), "object": "chat.completion", "created": 0, "model": answer.model,
        "choices": [choice], "usage": usage(answer)})
}

pub(super) fn events(answer: &ModelAnswer, id: &str, with_usage: bool) -> Vec<String> {
    let chunk = |choices: Value| {
        json!({"id": format!("chatcmpl-{id}"), "object": "chat.completion.chunk", "created": 0, "model": answer.model,
            "choices": choices})
    };
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]));
    let mut chunks = vec![delta(json!({"role": "assistant", "content": "", "refusal": null}))];
    for text in answer.content.iter().filter_map(Said::text) {
        chunks.extend(pieces(text).map(|piece| delta(json!({ "content": piece }))));
    }
    chunks.extend(answer.refusal.iter().map(|words| delta(json!({ "refusal": words }))));
    for (index, call) in answer.tool_calls().enumerate() {
        let function = json!({"name": call.name, "arguments": ""});
        let begin = json!({"index": index, "id": call.id, "type": "function", "function": function});
        chunks.push(delta(json!({ "tool_calls": [begin] })));
        let arguments = call.arguments_text();
        chunks.extend(
            super::slices(&arguments)
                .map(|piece| delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))),
        );
    }
    chunks.push(chunk(json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": finish(answer.stop)}])));
    if with_usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(answer);
        chunks.push(last);
    }
    let done = std::iter::once("data: [DONE]\n\n".to_owned());
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(done).collect()
}
