//! What can go wrong with a scripted answer: faults of the service, and answers that are wrong.

use serde::Deserialize;
use serde_json::Value;
use stepmill_worker_engine::model::{ModelAnswer, ModelRequest, Said, Stop, ToolCall};

use super::dice::Dice;
use crate::text::floor_char_boundary;

/// Something that goes wrong: in the named tries, by chance, or (where neither is said) always.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    #[serde(default)]
    pub(super) chance: Option<f64>,
    #[serde(default)]
    pub(super) tries: Option<Vec<u32>>,
    #[serde(default)]
    pub(super) retry_after_ms: Option<u64>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429.
    RateLimited,
    /// 500.
    ServerError,
    /// 529, or 503 with those who do not know it.
    Overloaded,
    /// No answer in time: 504.
    Timeout,
    /// The conversation is said to be too long: 400.
    ContextTooLong,
    /// The stream breaks off in the middle.
    CutStream,
    /// The answer, or the arguments of its first tool call, break off in the middle of their JSON.
    Malformed,
    /// The model declines.
    Refusal,
    /// The answer reaches the limit of tokens.
    Length,
    /// Another value where the schema offers several: well-formed, and wrong.
    WrongClass,
    /// Another tool than the right one.
    WrongTool,
    /// A tool that nobody offered.
    UnknownTool,
    /// An argument that the tool does not know.
    InventedArgument,
}

impl Fault {
    /// Whether it strikes this try. `place` tells apart the chances of several faults.
    pub(super) fn strikes(&self, place: &str, tries: u32, dice: &Dice) -> bool {
        match (&self.tries, self.chance) {
            (Some(wanted), _) if wanted.contains(&tries) => true,
            (_, Some(chance)) => dice.strikes(place, chance),
            (Some(_), None) => false,
            (None, None) => true,
        }
    }
}

/// Makes an answer wrong, as far as this kind does that.
pub(super) fn spoil(kind: FaultKind, answer: &mut ModelAnswer, request: &ModelRequest, dice: &Dice) {
    match kind {
        FaultKind::Malformed => {
            halve_text(answer);
            if let Some(Said::ToolCall(call)) = answer.content.iter_mut().find(|said| said.tool_call().is_some()) {
                let text = call.arguments_text();
                call.arguments = Value::String(text[..floor_char_boundary(&text, text.len() / 2)].to_owned());
            }
        }
        FaultKind::Length => {
            halve_text(answer);
            answer.content.retain(|said| said.tool_call().is_none());
            answer.stop = Stop::Length;
        }
        FaultKind::Refusal => {
            answer.content = Vec::new();
            answer.stop = Stop::Refusal;
            answer.refusal = Some("I cannot help with that.".into());
        }
        FaultKind::WrongClass => wrong_class(answer, request, dice),
        FaultKind::WrongTool => each_call(answer, |call| {
            let right = request.tools.iter().position(|tool| tool.name == call.name);
            if let Some(other) = dice.other("tool", request.tools.len(), right) {
                call.name.clone_from(&request.tools[other].name);
            }
        }),
        FaultKind::UnknownTool => each_call(answer, |call| call.name.push_str("_v2")),
        FaultKind::InventedArgument => each_call(answer, |call| {
            if let Value::Object(arguments) = &mut call.arguments {
                arguments.insert("invented".into(), "by the model".into());
            }
        }),
        FaultKind::RateLimited
        | FaultKind::ServerError
        | FaultKind::Overloaded
        | FaultKind::Timeout
        | FaultKind::ContextTooLong
        | FaultKind::CutStream => {}
    }
}

fn each_call(answer: &mut ModelAnswer, mut act: impl FnMut(&mut ToolCall)) {
    for said in &mut answer.content {
        if let Said::ToolCall(call) = said {
            act(call);
        }
    }
}

fn halve_text(answer: &mut ModelAnswer) {
    for said in &mut answer.content {
        if let Said::Text { text } = said {
            text.truncate(floor_char_boundary(text, text.len() / 2));
        }
    }
}

/// Wherever the schema's own properties have a list of values, another one of them.
fn wrong_class(answer: &mut ModelAnswer, request: &ModelRequest, dice: &Dice) {
    let properties = request.schema.as_ref().and_then(|s| s.schema.get("properties")).and_then(Value::as_object);
    for said in &mut answer.content {
        let (Said::Text { text }, Some(properties)) = (said, properties) else { continue };
        let Ok(Value::Object(mut value)) = serde_json::from_str(text) else { continue };
        for (name, schema) in properties {
            let Some(offered) = schema.get("enum").and_then(Value::as_array) else { continue };
            let right = value.get(name).and_then(|right| offered.iter().position(|o| o == right));
            if let (Some(_), Some(other)) = (right, dice.other(name, offered.len(), right)) {
                value.insert(name.clone(), offered[other].clone());
            }
        }
        *text = Value::Object(value).to_string();
    }
}
