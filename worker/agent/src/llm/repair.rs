//! The one follow-up to an answer that cannot be used.

use stepmill_worker_engine::model::{Message, ModelAnswer, ModelError, ModelErrorKind, ModelRequest};

/// How every follow-up begins.
pub(crate) const BEGINNING: &str = "Your last answer cannot be used:";

/// Whether asking again in the same conversation may mend this.
pub(super) const fn can_mend(kind: ModelErrorKind) -> bool {
    matches!(kind, ModelErrorKind::Malformed | ModelErrorKind::Mismatch)
}

/// The request that asks for the answer again, and says what was wrong with it.
pub(super) fn follow_up(request: &ModelRequest, answer: &ModelAnswer, error: &ModelError) -> ModelRequest {
    let mut request = request.clone();
    if !answer.content.is_empty() {
        request.messages.push(answer.message());
    }
    request.messages.push(Message::user(format!(
        "{BEGINNING} {}\nAnswer the same question again, with nothing but JSON that fits the schema.",
        error.detail
    )));
    request
}
