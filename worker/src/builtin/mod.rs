//! The steps that come with every worker: `http` and `llm`.

pub mod http;
mod http_answer;
mod http_auth;
pub mod llm;

pub use http::HttpStep;
pub use llm::{LlmConfig, LlmStep};

pub use crate::net::Timeouts;

use crate::worker::WorkerBuilder;

/// A built-in step that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}; check the TLS certificates of this machine")]
    Client(#[from] reqwest::Error),
    /// The scripted model's rules are wrong.
    #[error(transparent)]
    Script(#[from] crate::model::ScriptError),
}

/// Registers both built-in steps; `llm` as the environment says (see [`LlmConfig::from_env`]).
///
/// # Errors
/// [`BuiltinError`] when one of them cannot be set up.
pub fn register(builder: WorkerBuilder) -> Result<WorkerBuilder, BuiltinError> {
    let llm = LlmStep::new(LlmConfig::from_env())?;
    Ok(register_http(builder)?.step(llm::KIND, llm))
}

/// Registers `http` only.
///
/// # Errors
/// [`BuiltinError`] when it cannot be set up.
pub fn register_http(builder: WorkerBuilder) -> Result<WorkerBuilder, BuiltinError> {
    Ok(builder.step(http::KIND, HttpStep::new(http::TIMEOUTS)?))
}
