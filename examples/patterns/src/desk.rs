//! A help desk: what is done where no model decides.

use serde::{Deserialize, Serialize};
use stepmill_worker::{Context, Failure};

/// A request.
#[derive(Debug, Deserialize)]
pub struct Request {
    text: String,
}

/// Who deals with it, and what is told to whoever asked.
#[derive(Debug, Serialize)]
pub struct Handled {
    by: &'static str,
    text: String,
}

/// Opens a refund; the number comes from the idempotency key, so that a repeated attempt opens none anew.
///
/// # Errors
/// None so far.
pub async fn open_refund(ctx: Context, request: Request) -> Result<Handled, Failure> {
    let _ = request.text;
    Ok(Handled { by: "refunds", text: format!("refund {} is open", ctx.idempotency_key()) })
}

/// Hands a request over to a person.
///
/// # Errors
/// None so far.
pub async fn hand_over(_: Context, request: Request) -> Result<Handled, Failure> {
    Ok(Handled { by: "person", text: format!("a person will read: {}", request.text) })
}
