//! What a model answers.

use serde::{Deserialize, Serialize};

use super::message::{Message, Said, ToolCall};

/// One answer, complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelAnswer {
    /// The model that gave it, as it names itself.
    pub model: String,
    /// What it said.
    pub content: Vec<Said>,
    /// Why it ended.
    pub stop: Stop,
    /// What was read and written for it.
    pub tokens: Tokens,
    /// Why the model declined, in its own words; goes with [`Stop::Refusal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The model had said what it had to say.
    End,
    /// It waits for the results of tool calls.
    ToolCalls,
    /// It had as many tokens as it may.
    Length,
    /// The window of the model is full.
    Window,
    /// One of the texts at which it should end.
    StopText,
    /// It declined.
    Refusal,
    /// The service's filter stopped it.
    Filter,
    /// The service interrupted a long turn: send the answer back as it is, and the model goes on.
    Paused,
    /// Something that we do not know.
    Other,
}

impl Stop {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::End => "stop",
            Self::ToolCalls => "tool_calls",
            Self::Length => "length",
            Self::Window => "window",
            Self::StopText => "stop_text",
            Self::Refusal => "refusal",
            Self::Filter => "content_filter",
            Self::Paused => "paused",
            Self::Other => "other",
        }
    }
}

/// Tokens that a call used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Read, all of them.
    pub input: u64,
    /// Of these, read from the service's cache of prefixes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_cached: u64,
    /// Of these, written into that cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_kept: u64,
    /// Written, all of them.
    pub output: u64,
    /// Of these, thoughts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Tokens {
    /// Adds other tokens to these.
    pub fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.input_cached = self.input_cached.saturating_add(other.input_cached);
        self.input_kept = self.input_kept.saturating_add(other.input_kept);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}

impl ModelAnswer {
    /// All its text.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Said::text).collect()
    }

    /// The tool calls that it asks for, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(Said::tool_call)
    }

    /// The answer as a message of the conversation that goes on.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::Assistant { content: self.content.clone() }
    }
}
