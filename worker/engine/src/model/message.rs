//! The messages of a conversation with a model.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One message. Where a content has parts, a plain text is read as one part of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase", deny_unknown_fields)]
pub enum Message {
    /// The author's instructions.
    System {
        /// The text.
        content: String,
    },
    /// Whoever asks.
    User {
        /// What they say.
        #[serde(deserialize_with = "text_or_parts")]
        content: Vec<Part>,
    },
    /// The model.
    Assistant {
        /// What it says, in the order in which it said it.
        #[serde(deserialize_with = "text_or_said")]
        content: Vec<Said>,
    },
    /// What became of a tool call that the model asked for.
    Tool {
        /// The id of the call.
        call: String,
        /// The result, or the error.
        #[serde(deserialize_with = "text_or_parts")]
        content: Vec<Part>,
        /// Whether the call failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
}

/// A part of what a model is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Where it is: an `https:` or a `data:` URL.
        url: String,
    },
}

/// A part of what a model says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Said {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// It wants a tool called.
    ToolCall(ToolCall),
    /// Its thoughts, with whatever the service wants to get back with the next request. Other services do not get it.
    Reasoning {
        /// As far as it can be read.
        text: String,
        /// Whose format `block` has.
        format: Format,
        /// What the service sent; null where it wants nothing back.
        #[serde(default)]
        block: Value,
    },
}

/// A tool call that a model asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The service's id of the call; the result refers to it.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// An object; anything else means that the model did not keep to the form. Text that is no JSON is kept as a string.
    pub arguments: Value,
}

impl ToolCall {
    /// Reads arguments that came as text. No text at all stands for no arguments.
    #[must_use]
    pub fn read_arguments(text: &str) -> Value {
        if text.trim().is_empty() {
            return Value::Object(serde_json::Map::new());
        }
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    }

    /// The arguments as text, the way back from [`ToolCall::read_arguments`].
    #[must_use]
    pub fn arguments_text(&self) -> String {
        match &self.arguments {
            Value::String(text) => text.clone(),
            value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                value.to_string()
            }
        }
    }
}

/// The wire formats that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// OpenAI's chat completions, which most services and local servers speak.
    OpenaiChat,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
}

impl Message {
    /// A message of the author.
    #[must_use]
    pub fn system(text: impl Into<String>) -> Self {
        Self::System { content: text.into() }
    }

    /// A message of whoever asks.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { content: vec![Part::Text { text: text.into() }] }
    }

    /// A message of the model that is nothing but text.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant { content: vec![Said::Text { text: text.into() }] }
    }

    /// The result of a tool call.
    #[must_use]
    pub fn tool(call: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Tool { call: call.into(), content: vec![Part::Text { text: text.into() }], failed: false }
    }

    /// All its text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::System { content } => content.clone(),
            Self::User { content } | Self::Tool { content, .. } => texts(content),
            Self::Assistant { content } => content.iter().filter_map(Said::text).collect(),
        }
    }
}

impl Said {
    /// The text that is meant for the reader.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            Self::ToolCall(_) | Self::Reasoning { .. } => None,
        }
    }

    /// The call, where it is one.
    #[must_use]
    pub const fn tool_call(&self) -> Option<&ToolCall> {
        match self {
            Self::ToolCall(call) => Some(call),
            Self::Text { .. } | Self::Reasoning { .. } => None,
        }
    }
}

/// The texts among parts, one after the other.
#[must_use]
pub fn texts(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Text { text } => Some(text.clone()),
        Part::Image { .. } => None,
    };
    parts.iter().filter_map(text).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOr<T> {
    Text(String),
    Parts(Vec<T>),
}

fn text_or_parts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Part>, D::Error> {
    Ok(match TextOr::deserialize(d)? {
        TextOr::Text(text) => vec![Part::Text { text }],
        TextOr::Parts(parts) => parts,
    })
}

fn text_or_said<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Said>, D::Error> {
    Ok(match TextOr::deserialize(d)? {
        TextOr::Text(text) => vec![Said::Text { text }],
        TextOr::Parts(parts) => parts,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_text_stands_for_one_part() {
        let read: Vec<Message> = serde_json::from_value(json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "tool", "call": "c1", "content": "22 degrees"},
        ]))
        .unwrap();
        let expected = [
            Message::system("Be brief."),
            Message::user("Hello"),
            Message::assistant("Hi"),
            Message::tool("c1", "22 degrees"),
        ];
        assert_eq!(read, expected);
        assert!(serde_json::from_value::<Message>(json!({"role": "user", "content": "x", "name": "y"})).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: json!({"city": "Bern"}) };
        let thought =
            Said::Reasoning { text: "hm".into(), format: Format::Anthropic, block: json!({"signature": "x"}) };
        let said = Message::Assistant { content: vec![thought, Said::ToolCall(call)] };
        let user = Message::User { content: vec![Part::Image { url: "https://x/y.png".into() }] };
        for message in [said, user] {
            let json = serde_json::to_value(&message).unwrap();
            assert_eq!(serde_json::from_value::<Message>(json.clone()).unwrap(), message, "{json}");
            let packed = stepmill_protocol::codec::pack(&message).unwrap();
            assert_eq!(stepmill_protocol::codec::unpack::<Message>(&packed).unwrap(), message, "{json}");
        }
    }

    #[test]
    fn arguments_that_are_no_json_are_kept_as_they_came() {
        for (text, arguments) in
            [("", json!({})), ("{\"a\":1}", json!({"a": 1})), ("[1]", json!([1])), ("{\"a\":", json!("{\"a\":"))]
        {
            let call = ToolCall { id: "c".into(), name: "t".into(), arguments: ToolCall::read_arguments(text) };
            assert_eq!(call.arguments, arguments);
            assert_eq!(ToolCall::read_arguments(&call.arguments_text()), arguments, "and back");
        }
    }
}
