//! Definitions written in Rust: the same documents as in YAML, built with types.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use stepmill_definition::build::{Catch, Retry, Tasks, Then, Workflow, call, expr, http, set, switch, try_};
//!
//! let orders = Workflow::new("shop", "orders", "1.0.0")
//!     .input_schema(json!({ "type": "object", "required": ["total"] }))
//!     .timeout(Duration::from_secs(3600))
//!     .retry("gently", Retry::new().delay(Duration::from_secs(1)).exponential().attempts(5))
//!     .task("check", switch().case("small", ".total < 100", "ship").otherwise("rest", Then::Continue))
//!     .task(
//!         "charge",
//!         try_(Tasks::new().task("pay", http("post", "https://pay.example.com/charges").body(json!({ "sum": expr(".total") }))))
//!             .catch(Catch::new().retry_named("gently").tasks(Tasks::new().task("note", set(json!({ "paid": false }))))),
//!     )
//!     .task("ship", call("ship").pool("warehouse").timeout(Duration::from_secs(60)));
//!
//! let compiled = orders.compile().unwrap();
//! assert_eq!(compiled.plan.name.as_str(), "orders");
//! assert!(orders.to_yaml().starts_with("document:\n"));
//! ```
//!
//! A builder writes; whether names lead somewhere and expressions are right is said by [`Workflow::compile`], like for a text.

mod event;
mod extension;
mod kind;
mod policy;
mod task;
mod workflow;

pub use event::{EventFilter, Events, emit, listen};
pub use extension::Extension;
pub use kind::{
    Call, Do, Emit, For, Fork, Http, Listen, Llm, Mcp, OpenApi, Process, Raise, Run, Set, Step, Switch, Try, Wait,
    call, do_, for_each, fork, http, llm, mcp_http, mcp_stdio, openapi, raise, raise_named, run_workflow, script, set,
    set_expression, shell, switch, try_, wait,
};
pub use policy::{Authentication, Budget, Catch, Length, Problem, Retry, Then};
pub use task::{AnyTask, Task, Tasks};
pub use workflow::Workflow;

pub use crate::plan::{Join, ReadAs};

/// An expression as a value: `expr(".a")` is `${ .a }`.
#[must_use]
pub fn expr(jq: &str) -> serde_json::Value {
    serde_json::Value::String(format!("${{ {jq} }}"))
}
