//! What a language model is asked and what it answers, whoever serves it: messages, requests, answers, errors and prices.
//! Wire formats are translated to and from these types in `stepmill-agent`; an agent's transcript is made of them.

mod answer;
mod error;
mod message;
mod price;
mod request;
pub mod transcript;

pub use answer::{ModelAnswer, Stop, Tokens};
pub use error::{ModelError, ModelErrorKind};
pub use message::{Format, Message, Part, Said, ToolCall, texts};
pub use price::{NanoUsd, Price};
pub use request::{AnswerSchema, Effort, ModelRequest, Tool, ToolChoice};
