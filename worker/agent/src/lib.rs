//! Models for workers: services by wire format behind one set of types, a scripted model, and the step `llm`.
//!
//! A worker that serves `call: llm`:
//!
//! ```
//! use stepmill_agent::{LlmStep, ModelSettings, llm};
//! use stepmill_worker::{Secrets, WorkerBuilder};
//!
//! fn with_models(worker: WorkerBuilder) -> Result<WorkerBuilder, Box<dyn std::error::Error>> {
//!     let settings = ModelSettings::parse("providers: {here: {format: openai-chat, base_url: 'http://localhost:11434/v1'}}")?;
//!     Ok(worker.pool("llm").step(llm::KIND, LlmStep::new(&settings, Secrets::from_env(None))?))
//! }
//! ```
//!
//! What is asked and answered are the types of `stepmill_worker_engine::model`. [`wire`] turns them into each service's
//! format and back, as data; [`provider`] is the shell around that.

mod address;
pub mod cache;
mod file;
pub mod limit;
pub mod llm;
pub mod model;
pub mod price;
pub mod provider;
pub mod script;
pub mod serve;
pub mod settings;
mod text;
mod tokens;
pub mod wire;

pub use llm::{LlmCall, LlmOutput, LlmStep};
pub use model::{Call, Model, TokenSink};
pub use provider::{Providers, SetupError};
pub use script::{ScriptSource, Scripted};
pub use settings::ModelSettings;
pub use tokens::Readers;

pub use stepmill_worker_engine::model as types;
