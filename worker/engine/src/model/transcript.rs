//! Which conversations a service takes: the rules that all of them share, so that none refuses what we send.

use super::message::{Message, Said};

/// Why no service would take a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is nothing to answer: no message but the author's.
    Nothing,
    /// The first message is neither the author's nor the user's.
    Beginning,
    /// Nobody but the model spoke last: there is nothing new to answer.
    Ending,
    /// The author's instructions stand after other messages.
    LateSystem {
        /// The number of the message.
        at: usize,
    },
    /// A tool call has no result before the next message that is none.
    Dangling {
        /// The id of the call.
        call: String,
    },
    /// A result belongs to no call of the model's message before it, or to one that has a result.
    Stray {
        /// The id that it names.
        call: String,
    },
    /// Two calls of a conversation have the same id.
    Repeated {
        /// The id.
        call: String,
    },
    /// A message says nothing.
    Empty {
        /// The number of the message.
        at: usize,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "there is nothing to answer"),
            Self::Beginning => write!(f, "the conversation does not begin with a message of the user"),
            Self::Ending => write!(f, "the conversation ends with the model's own message"),
            Self::LateSystem { at } => write!(f, "message {at} gives instructions after the conversation has begun"),
            Self::Dangling { call } => write!(f, "tool call `{call}` has no result"),
            Self::Stray { call } => write!(f, "there is a result for `{call}` and no such open tool call"),
            Self::Repeated { call } => write!(f, "two tool calls have the id `{call}`"),
            Self::Empty { at } => write!(f, "message {at} is empty"),
        }
    }
}

impl std::error::Error for Flaw {}

/// Checks a conversation that is about to be sent.
///
/// # Errors
/// The first [`Flaw`].
pub fn check(messages: &[Message]) -> Result<(), Flaw> {
    let mut known: Vec<&str> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut begun = false;
    for (at, message) in messages.iter().enumerate() {
        if let (false, Some(call)) = (matches!(message, Message::Tool { .. }), open.first()) {
            return Err(Flaw::Dangling { call: (*call).to_owned() });
        }
        match message {
            Message::System { .. } if begun => return Err(Flaw::LateSystem { at }),
            Message::System { .. } => continue,
            Message::User { content } if content.is_empty() => return Err(Flaw::Empty { at }),
            Message::User { .. } => {}
            Message::Assistant { .. } if !begun => return Err(Flaw::Beginning),
            Message::Assistant { content } if content.is_empty() => return Err(Flaw::Empty { at }),
            Message::Assistant { content } => {
                for call in content.iter().filter_map(Said::tool_call) {
                    if known.contains(&call.id.as_str()) {
                        return Err(Flaw::Repeated { call: call.id.clone() });
                    }
                    known.push(&call.id);
                    open.push(&call.id);
                }
            }
            Message::Tool { call, .. } => match open.iter().position(|id| id == call) {
                Some(place) => {
                    open.remove(place);
                }
                None => return Err(Flaw::Stray { call: call.clone() }),
            },
        }
        begun = true;
    }
    if let Some(call) = open.first() {
        return Err(Flaw::Dangling { call: (*call).to_owned() });
    }
    match messages.last() {
        None | Some(Message::System { .. }) => Err(Flaw::Nothing),
        Some(Message::Assistant { .. }) => Err(Flaw::Ending),
        Some(Message::User { .. } | Message::Tool { .. }) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::ToolCall;
    use super::*;

    fn asks(ids: &[&str]) -> Message {
        let call = |id: &&str| Said::ToolCall(ToolCall { id: (*id).into(), name: "look".into(), arguments: json!({}) });
        Message::Assistant { content: ids.iter().map(call).collect() }
    }

    #[test]
    fn conversations_are_held_against_the_rules_of_services() {
        let (system, user, said) = (Message::system("s"), Message::user("u"), Message::assistant("a"));
        let result = |id: &str| Message::tool(id, "r");
        let id = |id: &str| id.to_owned();
        for (messages, expected) in [
            (vec![system.clone(), user.clone()], Ok(())),
            (vec![user.clone(), said.clone(), user.clone()], Ok(())),
            (vec![user.clone(), asks(&["1", "2"]), result("2"), result("1")], Ok(())),
            (vec![user.clone(), asks(&["1"]), result("1"), asks(&["2"]), result("2"), user.clone()], Ok(())),
            (vec![], Err(Flaw::Nothing)),
            (vec![system.clone()], Err(Flaw::Nothing)),
            (vec![said.clone(), user.clone()], Err(Flaw::Beginning)),
            (vec![user.clone(), said.clone()], Err(Flaw::Ending)),
            (vec![user.clone(), system, user.clone()], Err(Flaw::LateSystem { at: 1 })),
            (vec![user.clone(), asks(&["1", "2"]), result("1")], Err(Flaw::Dangling { call: id("2") })),
            (vec![user.clone(), asks(&["1"]), user.clone()], Err(Flaw::Dangling { call: id("1") })),
            (vec![user.clone(), asks(&["1"])], Err(Flaw::Dangling { call: id("1") })),
            (vec![user.clone(), result("1")], Err(Flaw::Stray { call: id("1") })),
            (vec![user.clone(), asks(&["1"]), result("1"), result("1")], Err(Flaw::Stray { call: id("1") })),
            (vec![user.clone(), asks(&["1"]), result("1"), asks(&["1"])], Err(Flaw::Repeated { call: id("1") })),
            (vec![user, Message::Assistant { content: vec![] }], Err(Flaw::Empty { at: 1 })),
        ] {
            assert_eq!(check(&messages), expected, "{messages:?}");
        }
    }
}
