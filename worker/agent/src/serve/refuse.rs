//! Refusals, in the shapes of the services.

use serde_json::{Value, json};
use stepmill_worker_engine::model::Format;

use crate::script::FaultKind;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    /// The service's word for the kind.
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(status: u16, kind: &'static str, message: &str) -> Self {
        Self { status, kind, code: None, message: message.to_owned() }
    }

    /// A request that is not as it should be.
    pub(super) fn wrong(message: &str) -> Self {
        Self::new(400, "invalid_request_error", message)
    }
}

/// The body that goes with it.
pub(super) fn error_body(format: Format, refused: &Refused) -> Value {
    match format {
        Format::OpenaiChat | Format::OpenaiResponses => json!({"error": {
            "message": refused.message, "type": refused.kind, "param": null, "code": refused.code,
        }}),
        Format::Anthropic => {
            json!({"type": "error", "error": {"type": refused.kind, "message": refused.message}})
        }
    }
}

/// A fault of the script, as the service would show it.
pub(super) fn fault(format: Format, kind: FaultKind) -> Refused {
    let openai = format != Format::Anthropic;
    let pick = |one: &'static str, other: &'static str| if openai { one } else { other };
    let code = |code: &'static str| openai.then_some(code);
    let (status, kind, code, message) = match kind {
        FaultKind::RateLimited => (
            429,
            pick("requests", "rate_limit_error"),
            code("rate_limit_exceeded"),
            "Rate limit reached, as the script says",
        ),
        FaultKind::Overloaded => (
            if openai { 503 } else { 529 },
            pick("server_error", "overloaded_error"),
            None,
            "Overloaded, as the script says",
        ),
        FaultKind::Timeout => (504, pick("server_error", "timeout_error"), None, "Timed out, as the script says"),
        FaultKind::ContextTooLong => {
            let message = pick(
                "This model's maximum context length is exceeded, as the script says",
                "prompt is too long, as the script says",
            );
            (400, "invalid_request_error", code("context_length_exceeded"), message)
        }
        FaultKind::ServerError
        | FaultKind::CutStream
        | FaultKind::Malformed
        | FaultKind::Refusal
        | FaultKind::Length
        | FaultKind::WrongClass
        | FaultKind::WrongTool
        | FaultKind::UnknownTool
        | FaultKind::InventedArgument => {
            (500, pick("server_error", "api_error"), None, "The server failed, as the script says")
        }
    };
    Refused { status, kind, code, message: message.to_owned() }
}
