//! `send-reply`: the last step. It puts the answer into the shop's outbox, once per idempotency key, however often the
//! step is attempted.

use serde::{Deserialize, Serialize};
use stepmill_worker::{Context, Failure};

use crate::store::Store;

/// What is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// The ticket's id.
    pub ticket: String,
    /// The answer to the customer.
    pub text: String,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The number of the message in the outbox.
    pub message: u64,
}

/// Sends the answer.
///
/// # Errors
/// A terminal [`Failure`] for an empty answer, a retryable one when the store cannot be written.
pub async fn send_reply(store: Store, ctx: Context, draft: Draft) -> Result<Sent, Failure> {
    if draft.text.trim().is_empty() {
        return Err(Failure::terminal("the answer is empty; look at the step that drafted it"));
    }
    let send =
        move || store.once(ctx.idempotency_key(), |shop| Ok(Sent { message: shop.reply(&draft.ticket, &draft.text)? }));
    tokio::task::spawn_blocking(send).await?.map_err(Into::into)
}
