//! What a script says to a request: pure, for the model in the process and for the server alike.

use std::time::Duration;

use stepmill_worker_engine::model::{Message, ModelAnswer, ModelRequest, Said, Stop, Tokens, ToolCall};

use super::dice::Dice;
use super::fault::{FaultKind, spoil};
use super::rule::{AnswerTemplate, Latency, Rule, Rules};
use super::template::{Picked, fill_text, fill_value};

/// What comes back, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// How long until it begins.
    pub latency: Duration,
    /// How long each token of a stream takes.
    pub token_latency: Duration,
    /// What it is.
    pub outcome: Outcome,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// An answer, right or wrong.
    Answer(ModelAnswer),
    /// An answer whose stream breaks off in the middle.
    Cut(ModelAnswer),
    /// None: the service fails.
    Fault {
        /// How.
        kind: FaultKind,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The script has no rule for the request.
    NoRule,
}

pub(super) fn reply(rules: &Rules, request: &ModelRequest, tries: u32) -> Reply {
    let Some((rule, picked)) = rules.answering(request, tries) else {
        return Reply { latency: Duration::ZERO, token_latency: Duration::ZERO, outcome: Outcome::NoRule };
    };
    let dice = Dice::new(rules.seed, request, tries);
    let latency = pick_latency(rule.latency_ms.unwrap_or(rules.latency_ms), dice.roll("latency"));
    let mut answer = answer(rules, rule, request, &picked);
    let own = rule.faults.iter().enumerate().map(|(n, fault)| (rule.name.as_str(), n, fault));
    let all = rules.faults.iter().enumerate().map(|(n, fault)| ("", n, fault));
    // The rule's own come first.
    let fault = own.chain(all).find(|(place, n, fault)| fault.strikes(&format!("{place}/{n}"), tries, &dice));
    let outcome = match fault.map(|(_, _, fault)| fault) {
        None => Outcome::Answer(answer),
        Some(fault) => match fault.kind {
            FaultKind::RateLimited
            | FaultKind::ServerError
            | FaultKind::Overloaded
            | FaultKind::Timeout
            | FaultKind::ContextTooLong => {
                Outcome::Fault { kind: fault.kind, retry_after: fault.retry_after_ms.map(Duration::from_millis) }
            }
            FaultKind::CutStream => Outcome::Cut(answer),
            FaultKind::Malformed
            | FaultKind::Refusal
            | FaultKind::Length
            | FaultKind::WrongClass
            | FaultKind::WrongTool
            | FaultKind::UnknownTool
            | FaultKind::InventedArgument => {
                spoil(fault.kind, &mut answer, request, &dice);
                Outcome::Answer(answer)
            }
        },
    };
    Reply { latency, token_latency: Duration::from_millis(rules.token_latency_ms), outcome }
}

fn answer(rules: &Rules, rule: &Rule, request: &ModelRequest, picked: &Picked) -> ModelAnswer {
    let turn = request.messages.iter().filter(|m| matches!(m, Message::Assistant { .. })).count();
    let template: &AnswerTemplate = rule.answer.at(turn);
    let text = match (&template.text, &template.json) {
        (_, Some(value)) => fill_value(value, picked).to_string(),
        (Some(text), None) => fill_text(text, picked),
        (None, None) => String::new(),
    };
    let mut content = Vec::new();
    if !text.is_empty() {
        content.push(Said::Text { text });
    }
    // The conversation grows from turn to turn, so no two calls of it have the same id.
    let address = crate::address::of(request).to_hex();
    content.extend(template.tools().enumerate().map(|(n, tool)| {
        Said::ToolCall(ToolCall {
            id: format!("call_{}_{n}", &address[..16]),
            name: fill_text(&tool.name, picked),
            arguments: fill_value(&tool.arguments, picked),
        })
    }));
    let stop = if content.iter().any(|said| said.tool_call().is_some()) { Stop::ToolCalls } else { Stop::End };
    let tokens = Tokens {
        input: request.messages.iter().map(read_tokens).sum(),
        output: content.iter().map(said_tokens).sum(),
        ..Tokens::default()
    };
    ModelAnswer { model: rules.model.clone(), content, stop, tokens, refusal: None }
}

fn read_tokens(message: &Message) -> u64 {
    match message {
        Message::Assistant { content } => content.iter().map(said_tokens).sum(),
        Message::System { .. } | Message::User { .. } | Message::Tool { .. } => count(&message.text()),
    }
}

fn said_tokens(said: &Said) -> u64 {
    match said {
        Said::Text { text } | Said::Reasoning { text, .. } => count(text),
        Said::ToolCall(call) => count(&call.name) + count(&call.arguments_text()),
    }
}

/// About four tokens for three words.
fn count(text: &str) -> u64 {
    let words = text.split_whitespace().count() as u64;
    (words * 4).div_ceil(3)
}

fn pick_latency(latency: Latency, roll: u64) -> Duration {
    Duration::from_millis(match latency {
        Latency::Fixed(ms) => ms,
        Latency::Between { from, to } if to > from => from + roll % (to - from + 1),
        Latency::Between { from, .. } => from,
    })
}
