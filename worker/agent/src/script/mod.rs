//! A model that answers by rules, with latency and faults, where there is no service: in tests, in the demo, and as a server
//! that stands in for one. The same seed and the same request always give the same answer, in whatever order requests come.

mod dice;
mod fault;
mod reply;
mod rule;
mod scripted;
mod template;

pub use fault::FaultKind;
pub use reply::{Outcome, Reply};
pub use rule::{QuotaSettings, ScriptError, ScriptSource};
pub use scripted::{Script, Scripted};
