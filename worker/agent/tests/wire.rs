//! The wire formats as data: one conversation and one answer, in each service's documented shape.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use serde_json::{Value, json};
use stepmill_agent::types::{
    AnswerSchema, Effort, Format, Message, ModelAnswer, ModelError, ModelErrorKind, ModelRequest, Part, Said, Stop,
    Tokens, Tool, ToolCall, ToolChoice,
};
use stepmill_agent::wire::{self, Assembly, Events, MaxTokensName, Structured, Style};

const FORMATS: [Format; 3] = [Format::OpenaiChat, Format::OpenaiResponses, Format::Anthropic];

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false})
}

fn weather() -> Tool {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    Tool { name: "get_weather".into(), description: "The weather.".into(), parameters }
}

fn call(id: &str, arguments: Value) -> ToolCall {
    ToolCall { id: id.into(), name: "get_weather".into(), arguments }
}

/// A conversation with everything in it.
fn conversation() -> ModelRequest {
    let thought = Said::Reasoning {
        text: "hm".into(),
        format: Format::Anthropic,
        block: json!({"type": "thinking", "thinking": "hm", "signature": "s1"}),
    };
    ModelRequest {
        model: "m-1".into(),
        messages: vec![
            Message::system("Be brief."),
            Message::User {
                content: vec![
                    Part::Text { text: "Compare.".into() },
                    Part::Image { url: "data:image/png;base64,AAAA".into() },
                ],
            },
            Message::Assistant {
                content: vec![
                    thought,
                    Said::Text { text: "I look.".into() },
                    Said::ToolCall(call("c1", json!({"city": "Bern"}))),
                    Said::ToolCall(call("c2", json!({"city": "Rome"}))),
                ],
            },
            Message::tool("c1", "8"),
            Message::Tool {
                call: "c2".into(),
                content: vec![Part::Text { text: "no such city".into() }],
                failed: true,
            },
        ],
        tools: vec![weather()],
        tool_choice: ToolChoice::Auto,
        parallel_tool_calls: Some(false),
        max_tokens: Some(50),
        temperature: Some(0.5),
        ..ModelRequest::default()
    }
}

fn body(format: Format, request: &ModelRequest) -> Value {
    wire::body(format, request, &Style::default()).unwrap()
}

#[test]
fn a_conversation_in_chat_completions() {
    assert_eq!(
        body(Format::OpenaiChat, &conversation()),
        json!({
            "model": "m-1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Compare."},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
                {"role": "assistant", "content": "I look.", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Bern\"}"}},
                    {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "8"},
                {"role": "tool", "tool_call_id": "c2", "content": "no such city"},
            ],
            "tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather.",
                "parameters": weather().parameters}}],
            "tool_choice": "auto", "parallel_tool_calls": false, "temperature": 0.5, "max_tokens": 50,
            "stream": true, "stream_options": {"include_usage": true},
        })
    );
}

#[test]
fn a_conversation_in_responses() {
    assert_eq!(
        body(Format::OpenaiResponses, &conversation()),
        json!({
            "model": "m-1",
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "input_text", "text": "Compare."},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{\"city\":\"Bern\"}"},
                {"type": "function_call", "call_id": "c2", "name": "get_weather", "arguments": "{\"city\":\"Rome\"}"},
                {"type": "function_call_output", "call_id": "c1", "output": "8"},
                {"type": "function_call_output", "call_id": "c2", "output": "no such city"},
            ],
            "store": false,
            "tools": [{"type": "function", "name": "get_weather", "description": "The weather.",
                "parameters": weather().parameters, "strict": false}],
            "tool_choice": "auto", "parallel_tool_calls": false, "temperature": 0.5, "max_output_tokens": 50, "stream": true,
        })
    );
}

#[test]
fn a_conversation_in_messages() {
    let mark = json!({"type": "ephemeral"});
    assert_eq!(
        body(Format::Anthropic, &conversation()),
        json!({
            "model": "m-1", "max_tokens": 50,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": mark}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Compare."},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s1"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": "c2", "name": "get_weather", "input": {"city": "Rome"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "8"}]},
                    {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "no such city"}],
                        "is_error": true, "cache_control": mark},
                ]},
            ],
            "tools": [{"name": "get_weather", "description": "The weather.", "input_schema": weather().parameters}],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
            "temperature": 0.5, "stream": true,
        })
    );
}

#[test]
fn a_prefix_of_a_conversation_stays_as_it_is_when_the_conversation_goes_on() {
    let long = conversation();
    let short = ModelRequest { messages: long.messages[..2].to_vec(), ..long.clone() };
    let unmarked = Style { prompt_cache: false, ..Style::default() };
    for (format, list) in [(FORMATS[0], "messages"), (FORMATS[1], "input"), (FORMATS[2], "messages")] {
        let sent = |request| wire::body(format, request, &unmarked).unwrap();
        let (short, long) = (sent(&short), sent(&long));
        let (before, after) = (short[list].as_array().unwrap(), long[list].as_array().unwrap());
        assert_eq!(before[..], after[..before.len()], "{format:?}");
        assert_eq!(short["tools"].to_string(), long["tools"].to_string(), "{format:?}");
    }
}

#[test]
fn schemas_choices_and_parameters_in_each_format() {
    let plain = ModelRequest { messages: vec![Message::user("x")], ..ModelRequest::default() };
    let schema = AnswerSchema { name: "s".into(), schema: schema() };
    let asked = ModelRequest { schema: Some(schema.clone()), effort: Some(Effort::Low), ..plain.clone() };
    let [chat, responses, anthropic] = FORMATS.map(|format| body(format, &asked));
    let named = json!({"name": "s", "schema": schema.schema, "strict": true});
    assert_eq!(chat["response_format"], json!({"type": "json_schema", "json_schema": named}));
    assert_eq!(chat["reasoning_effort"], "low");
    assert_eq!(
        responses["text"],
        json!({"format": {"type": "json_schema", "name": "s", "schema": schema.schema, "strict": true}})
    );
    assert_eq!(
        (&responses["reasoning"]["effort"], &responses["include"]),
        (&json!("low"), &json!(["reasoning.encrypted_content"]))
    );
    let format = json!({"type": "json_schema", "schema": schema.schema});
    assert_eq!(anthropic["output_config"], json!({"format": format, "effort": "low"}));
    assert_eq!(anthropic["max_tokens"], json!(stepmill_agent::limit::MAX_TOKENS_UNSAID));
    assert!(anthropic["messages"][0]["content"][0].get("cache_control").is_none(), "nothing follows one question");

    let told = Style { structured: Structured::Prompt, ..Style::default() };
    for format in FORMATS {
        let told = wire::body(format, &asked, &told).unwrap().to_string();
        assert!(told.contains("It must fit this JSON Schema") && !told.contains("json_schema"), "{told}");
    }

    for (choice, chat, responses, anthropic) in [
        (ToolChoice::None, json!("none"), json!("none"), json!({"type": "none"})),
        (ToolChoice::Required, json!("required"), json!("required"), json!({"type": "any"})),
        (
            ToolChoice::Named("get_weather".into()),
            json!({"type": "function", "function": {"name": "get_weather"}}),
            json!({"type": "function", "name": "get_weather"}),
            json!({"type": "tool", "name": "get_weather"}),
        ),
    ] {
        let asked = ModelRequest { tools: vec![weather()], tool_choice: choice, ..plain.clone() };
        assert_eq!(FORMATS.map(|format| body(format, &asked)["tool_choice"].clone()), [chat, responses, anthropic]);
    }

    let stop = ModelRequest { stop: vec!["END".into()], top_p: Some(0.5), ..plain.clone() };
    assert_eq!(body(Format::OpenaiChat, &stop)["stop"], json!(["END"]));
    assert_eq!(body(Format::Anthropic, &stop)["stop_sequences"], json!(["END"]));
    let error = wire::body(Format::OpenaiResponses, &stop, &Style::default()).unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::BadRequest, "said, not left out in silence");

    let newer = Style { max_tokens_name: MaxTokensName::MaxCompletionTokens, stream: false, ..Style::default() };
    let limited = ModelRequest { max_tokens: Some(9), ..plain.clone() };
    let limited = wire::body(Format::OpenaiChat, &limited, &newer).unwrap();
    assert_eq!((limited["max_completion_tokens"].as_u64(), limited.get("stream")), (Some(9), None));

    let extra = json!({"temperature": 1, "output_config": {"effort": "max"}, "seed": 7});
    let over = ModelRequest { temperature: Some(0.0), extra: extra.as_object().unwrap().clone(), ..asked };
    let over = body(Format::Anthropic, &over);
    assert_eq!((&over["temperature"], &over["seed"]), (&json!(1), &json!(7)));
    assert_eq!(over["output_config"]["effort"], "max");
    assert!(over["output_config"]["format"].is_object(), "objects are put together");
}

#[test]
fn arguments_that_were_no_object_can_be_sent_back_to_everybody() {
    let said = Message::Assistant { content: vec![Said::ToolCall(call("c1", json!("{\"city\": \"Be")))] };
    let messages = vec![Message::user("x"), said, Message::tool("c1", "your arguments are not JSON")];
    let request = ModelRequest { messages, ..ModelRequest::default() };
    let [chat, responses, anthropic] = FORMATS.map(|format| body(format, &request));
    assert_eq!(chat["messages"][1]["tool_calls"][0]["function"]["arguments"], "{\"city\": \"Be");
    assert_eq!(chat["messages"][1]["content"], Value::Null);
    assert_eq!(responses["input"][1]["arguments"], "{\"city\": \"Be");
    assert_eq!(anthropic["messages"][1]["content"][0]["input"], json!({"unreadable": "{\"city\": \"Be"}));
}

/// What all three services say below, each in its own way.
fn expected(reasoning: Option<Said>, tokens: Tokens) -> ModelAnswer {
    let mut content: Vec<Said> = reasoning.into_iter().collect();
    content.push(Said::Text { text: "I look it up.".into() });
    content.push(Said::ToolCall(call("c1", json!({"city": "Bern"}))));
    content.push(Said::ToolCall(call("c2", json!({}))));
    ModelAnswer { model: "m-1-2026".into(), content, stop: Stop::ToolCalls, tokens, refusal: None }
}

fn answer(format: Format, body: &Value) -> Result<ModelAnswer, ModelError> {
    wire::answer(format, &ModelRequest::default(), &serde_json::to_vec(body).unwrap())
}

/// Feeds a stream byte by byte; gives the answer and what readers saw.
fn stream(format: Format, request: &ModelRequest, text: &str) -> (Result<ModelAnswer, ModelError>, String) {
    let (mut events, mut assembly, mut seen) = (Events::default(), Assembly::new(format, request), String::new());
    for byte in text.as_bytes() {
        for data in events.take(std::slice::from_ref(byte)) {
            match assembly.take(&data) {
                Ok(piece) => seen.push_str(&piece.text),
                Err(error) => return (Err(error), seen),
            }
        }
    }
    (assembly.finish(), seen)
}

/// Events with nothing but data.
fn data(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

/// Events with their type as name, too.
fn named(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("event: {}\ndata: {chunk}\n\n", chunk["type"].as_str().unwrap())).collect()
}

fn chat_chunks() -> Vec<Value> {
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null})
    };
    let piece = |index: u64, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let start = |index: u64, id: &str| {
        json!({"tool_calls": [{"index": index, "id": id, "type": "function",
            "function": {"name": "get_weather", "arguments": ""}}]})
    };
    vec![
        chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null),
        chunk(json!({"content": "I look "}), Value::Null),
        chunk(json!({"content": "it up."}), Value::Null),
        chunk(start(0, "c1"), Value::Null),
        chunk(piece(0, "{\"ci"), Value::Null),
        chunk(start(1, "c2"), Value::Null),
        chunk(piece(1, "{"), Value::Null),
        chunk(piece(0, "ty\":\"Bern\"}"), Value::Null),
        chunk(piece(1, "}"), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026", "choices": [],
            "usage": {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 8}}}),
    ]
}

#[test]
fn an_answer_in_chat_completions_whole_and_streamed() {
    let tokens = Tokens { input: 90, input_cached: 64, input_kept: 0, output: 30, reasoning: 8 };
    let function = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}});
    let whole = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-1-2026",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {
            "role": "assistant", "content": "I look it up.", "refusal": null,
            "tool_calls": [function("c1", "{\"city\":\"Bern\"}"), function("c2", "{}")]}}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 8}},
    });
    assert_eq!(answer(Format::OpenaiChat, &whole).unwrap(), expected(None, tokens));
    let text = data(&chat_chunks()) + "data: [DONE]\n\n";
    let (streamed, seen) = stream(Format::OpenaiChat, &ModelRequest::default(), &text);
    assert_eq!(streamed.unwrap(), expected(None, tokens));
    assert_eq!(seen, "I look it up.");
}

#[test]
fn servers_that_number_and_name_no_calls_are_understood() {
    let call = |city: &str| json!({"function": {"name": "get_weather", "arguments": {"city": city}}});
    let chunk = |delta: Value, finish: Value| json!({"choices": [{"delta": delta, "finish_reason": finish}]});
    let id = |id: &str, city: &str| json!({"tool_calls": [{"id": id, "function": {"name": "get_weather", "arguments": format!("{{\"city\":\"{city}\"}}")}}]});
    let chunks = [chunk(id("x", "Bern"), Value::Null), chunk(id("y", "Rome"), json!("stop"))];
    let (streamed, _) = stream(Format::OpenaiChat, &ModelRequest::default(), &data(&chunks));
    let streamed = streamed.unwrap();
    let ids: Vec<_> = streamed.tool_calls().map(|c| (c.id.as_str(), c.arguments["city"].as_str().unwrap())).collect();
    assert_eq!((ids, streamed.stop), (vec![("x", "Bern"), ("y", "Rome")], Stop::ToolCalls));
    let whole =
        json!({"choices": [{"message": {"tool_calls": [call("Bern"), call("Rome")]}, "finish_reason": "stop"}]});
    let request = ModelRequest { messages: vec![Message::user("x")], ..ModelRequest::default() };
    let whole = wire::answer(Format::OpenaiChat, &request, &serde_json::to_vec(&whole).unwrap()).unwrap();
    let ids: Vec<_> = whole.tool_calls().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["call_1_0", "call_1_1"], "of our own, and others in the next turn");
}

fn anthropic_events() -> Vec<Value> {
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start =
        |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let json_piece = |index, text: &str| delta(index, json!({"type": "input_json_delta", "partial_json": text}));
    let tool = |id: &str| json!({"type": "tool_use", "id": id, "name": "get_weather", "input": {}});
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "m-1-2026", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 16, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 64, "output_tokens": 1}}}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "thinking_delta", "thinking": "which "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "city?"})),
        delta(0, json!({"type": "signature_delta", "signature": "s1"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "I look "})),
        delta(1, json!({"type": "text_delta", "text": "it up."})),
        stop(1),
        start(2, tool("c1")),
        json_piece(2, ""),
        json_piece(2, "{\"ci"),
        json_piece(2, "ty\":\"Bern\"}"),
        stop(2),
        start(3, tool("c2")),
        stop(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 30}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn an_answer_in_messages_whole_and_streamed() {
    let tokens = Tokens { input: 90, input_cached: 64, input_kept: 10, output: 30, reasoning: 0 };
    let block = json!({"type": "thinking", "thinking": "which city?", "signature": "s1"});
    let thought = Said::Reasoning { text: "which city?".into(), format: Format::Anthropic, block: block.clone() };
    let whole = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1-2026",
        "content": [block, {"type": "text", "text": "I look it up."},
            {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Bern"}},
            {"type": "tool_use", "id": "c2", "name": "get_weather", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 16, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 64, "output_tokens": 30},
    });
    let expected = expected(Some(thought), tokens);
    assert_eq!(answer(Format::Anthropic, &whole).unwrap(), expected);
    let (streamed, seen) = stream(Format::Anthropic, &ModelRequest::default(), &named(&anthropic_events()));
    assert_eq!(streamed.unwrap(), expected);
    assert_eq!(seen, "I look it up.");
    let back = ModelRequest { messages: vec![Message::user("x"), expected.message()], ..ModelRequest::default() };
    assert_eq!(body(Format::Anthropic, &back)["messages"][1]["content"][0], block, "thoughts go back as they came");
    assert!(!body(Format::OpenaiChat, &back).to_string().contains("which city?"), "and to nobody else");
}

fn response() -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": null,
        "incomplete_details": null, "model": "m-1-2026",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "which city?"}],
                "encrypted_content": "gAAA"},
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "I look it up.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_weather",
                "arguments": "{\"city\":\"Bern\"}", "status": "completed"},
            {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "get_weather", "arguments": "{}",
                "status": "completed"},
        ],
        "usage": {"input_tokens": 90, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 120},
    })
}

fn response_events(last: Value) -> Vec<Value> {
    let begun = json!({"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "usage": null});
    let text = |delta: &str| json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": delta});
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        text("I look "),
        text("it up."),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": "{\"ci"}),
    ];
    for item in response()["output"].as_array().unwrap() {
        events.push(json!({"type": "response.output_item.done", "item": item}));
    }
    events.push(last);
    events
}

#[test]
fn an_answer_in_responses_whole_and_streamed() {
    let tokens = Tokens { input: 90, input_cached: 64, input_kept: 0, output: 30, reasoning: 8 };
    let block = response()["output"][0].clone();
    let thought = Said::Reasoning { text: "which city?".into(), format: Format::OpenaiResponses, block };
    let expected = expected(Some(thought), tokens);
    assert_eq!(answer(Format::OpenaiResponses, &response()).unwrap(), expected);
    let mut hollow = response();
    hollow["output"] = json!([]);
    for last in [response(), hollow] {
        let events = response_events(json!({"type": "response.completed", "response": last}));
        let (streamed, seen) = stream(Format::OpenaiResponses, &ModelRequest::default(), &named(&events));
        assert_eq!(streamed.unwrap(), expected);
        assert_eq!(seen, "I look it up.");
    }
}

#[test]
fn the_reasons_why_answers_end() {
    let chat = |reason: &str, refusal: Value| json!({"model": "m", "choices": [{"message": {"content": "x", "refusal": refusal}, "finish_reason": reason}]});
    let messages =
        |reason: &str| json!({"model": "m", "content": [{"type": "text", "text": "x"}], "stop_reason": reason});
    let responses = |status: &str, reason: Value, kind: &str| {
        json!({"model": "m", "status": status, "incomplete_details": {"reason": reason},
            "output": [{"type": "message", "content": [{"type": kind, "text": "x", "refusal": "No."}]}]})
    };
    for (format, body, stop) in [
        (Format::OpenaiChat, chat("stop", Value::Null), Stop::End),
        (Format::OpenaiChat, chat("length", Value::Null), Stop::Length),
        (Format::OpenaiChat, chat("content_filter", Value::Null), Stop::Filter),
        (Format::OpenaiChat, chat("stop", json!("No.")), Stop::Refusal),
        (Format::Anthropic, messages("end_turn"), Stop::End),
        (Format::Anthropic, messages("max_tokens"), Stop::Length),
        (Format::Anthropic, messages("model_context_window_exceeded"), Stop::Window),
        (Format::Anthropic, messages("stop_sequence"), Stop::StopText),
        (Format::Anthropic, messages("pause_turn"), Stop::Paused),
        (Format::Anthropic, messages("refusal"), Stop::Refusal),
        (Format::OpenaiResponses, responses("incomplete", json!("max_output_tokens"), "output_text"), Stop::Refusal),
    ] {
        let read = answer(format, &body).unwrap();
        assert_eq!((read.stop, read.refusal.is_some()), (stop, stop == Stop::Refusal), "{body}");
    }
    let cut = json!({"model": "m", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}]});
    assert_eq!(answer(Format::OpenaiResponses, &cut).unwrap().stop, Stop::Length);
}

#[test]
fn a_stream_that_ends_anywhere_before_its_end_is_cut_and_says_so() {
    let last = json!({"type": "response.completed", "response": response()});
    for (format, events, whole) in [
        // The finish reason is the end: usage and `[DONE]` may be missing.
        (Format::OpenaiChat, chat_chunks(), 10),
        (Format::Anthropic, anthropic_events(), 20),
        (Format::OpenaiResponses, response_events(last), 10),
    ] {
        for length in 0..=events.len() {
            let (answer, _) = stream(format, &ModelRequest::default(), &data(&events[..length]));
            match answer {
                Ok(_) => assert!(length >= whole, "{format:?} with {length} of {} events", events.len()),
                Err(error) => {
                    assert_eq!(error.kind, ModelErrorKind::CutStream, "{format:?} with {length} events");
                    assert!(length < whole, "{format:?} with {length} of {} events", events.len());
                }
            }
        }
    }
}

#[test]
fn errors_in_the_middle_of_streams_and_answers_of_another_kind() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let failed = json!({"type": "response.failed", "response": {"status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}}});
    let chat = json!({"error": {"message": "The server had an error", "type": "server_error", "code": null}});
    for (format, begun, event, kind) in [
        (Format::Anthropic, &anthropic_events()[..8], overloaded, ModelErrorKind::Overloaded),
        (Format::OpenaiResponses, &[][..], failed, ModelErrorKind::RateLimit),
        (Format::OpenaiChat, &chat_chunks()[..3], chat, ModelErrorKind::Unavailable),
    ] {
        let text = data(begun) + &data(&[event]);
        assert_eq!(stream(format, &ModelRequest::default(), &text).0.unwrap_err().kind, kind, "{format:?}");
        for odd in [json!({"hello": 1}), json!([])] {
            assert_eq!(answer(format, &odd).unwrap_err().kind, ModelErrorKind::Unreadable, "{format:?} {odd}");
        }
        let html = wire::answer(format, &ModelRequest::default(), b"<html>").unwrap_err();
        assert!(html.kind == ModelErrorKind::Unreadable && html.detail.contains("check the provider's `format`"));
    }
}

#[test]
fn keys_stand_where_each_service_wants_them() {
    assert_eq!(wire::headers(Format::OpenaiChat, Some("k")), [("authorization", "Bearer k".into())]);
    let anthropic = wire::headers(Format::Anthropic, Some("k"));
    assert_eq!(anthropic, [("anthropic-version", "2023-06-01".into()), ("x-api-key", "k".into())]);
    assert_eq!(wire::headers(Format::OpenaiResponses, None), []);
}
