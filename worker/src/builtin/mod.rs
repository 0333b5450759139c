//! The steps that come with every worker: `http`, `emit`, `openapi`, `mcp`, `script` and `shell`.

mod auth;
pub mod emit;
mod endpoint;
pub mod http;
mod http_answer;
mod http_call;
pub mod mcp;
mod mcp_http;
pub mod openapi;
pub mod process;
mod wire;

pub use emit::EmitStep;
pub use http::HttpStep;
pub use mcp::McpStep;
pub use openapi::OpenApiStep;
pub use process::script::ScriptStep;
pub use process::shell::ShellStep;
pub use process::{RunRules, Runnable};
pub use wire::Wire;

pub use crate::net::Timeouts;

use crate::worker::WorkerBuilder;

/// A built-in step that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}; check the TLS certificates of this machine")]
    Client(#[from] reqwest::Error),
}

/// Registers what reaches outside: `http`, `emit`, `openapi`, `mcp`, `script` and `shell`. What `rules` does not allow to be started
/// on this machine is refused when it is called, with what to do about it.
///
/// # Errors
/// [`BuiltinError`] when one of them cannot be set up.
pub fn register_calls(builder: WorkerBuilder, rules: RunRules) -> Result<WorkerBuilder, BuiltinError> {
    let wire = Wire::new(http::TIMEOUTS)?;
    Ok(builder
        .step(http::KIND, HttpStep::on(wire.clone()))
        .step(emit::KIND, EmitStep::on(wire.clone()))
        .step(openapi::KIND, OpenApiStep::on(wire.clone()))
        .step(mcp::KIND, McpStep::new(rules.clone(), wire.clone()))
        .step(process::script::KIND, ScriptStep::new(rules.clone(), wire))
        .step(process::shell::KIND, ShellStep::new(rules)))
}

/// Registers `http` only.
///
/// # Errors
/// [`BuiltinError`] when it cannot be set up.
pub fn register_http(builder: WorkerBuilder) -> Result<WorkerBuilder, BuiltinError> {
    Ok(builder.step(http::KIND, HttpStep::new(http::TIMEOUTS)?))
}
