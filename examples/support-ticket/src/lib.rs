//! The support desk of a small shop, as a user of Stepmill would write it: a workflow (`workflow.yaml`), the steps that
//! it calls ([`steps`]), and a store of its own ([`store`]). With it come tickets, orders and the rules of a scripted
//! model (`model.yaml`), so that it runs with no key and no server of anybody else.

pub mod reply;
pub mod store;
pub mod tool;

use serde::{Deserialize, Serialize};
use stepmill_worker::WorkerBuilder;

pub use store::{Store, StoreError};
use tool::Tool;

/// The definition, for `define`.
pub const WORKFLOW: &str = include_str!("../workflow.yaml");
/// The name under which the definition is registered (namespace `default`).
pub const WORKFLOW_NAME: &str = "support-ticket";
/// The rules of the scripted model that stands in for a language model.
pub const MODEL_RULES: &str = include_str!("../model.yaml");
/// Tickets to try it with, as JSON lines: `id`, `text`, and `label`, the right category. The workflow's input is `id` and
/// `text`; nobody in it may see the label.
pub const TICKETS: &str = include_str!("../tickets.jsonl");
/// The orders that the tickets speak of, as JSON lines; see [`Store::seed`].
pub const ORDERS: &str = include_str!("../orders.jsonl");

/// What a run of the workflow gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The ticket's id.
    pub ticket: String,
    /// The category that the model chose, and so the route that the ticket took.
    pub category: String,
    /// The model's reason for it.
    pub reason: String,
    /// What the shop did, in one word.
    pub outcome: tool::Outcome,
    /// The answer to the customer.
    pub reply: String,
    /// The number of the message in the outbox.
    pub message: u64,
}

/// The pool of the example's steps. They have one of their own, since every worker of a pool must serve all kinds of
/// steps that are sent to it.
pub const POOL: &str = "shop";

/// Adds the steps of this example to a worker and puts it into their pool: `steps(&store)(Worker::builder(link))`.
pub fn steps(store: &Store) -> impl FnOnce(WorkerBuilder) -> WorkerBuilder + use<> {
    let store = store.clone();
    move |worker| {
        worker
            .pool(POOL)
            .step("start-exchange", Tool::new(&store, tool::start_exchange))
            .step("start-return", Tool::new(&store, tool::start_return))
            .step("cancel-order", Tool::new(&store, tool::cancel_order))
            .step("modify-order", Tool::new(&store, tool::modify_order))
            .step("look-up", Tool::new(&store, tool::look_up))
            .step("open-case", Tool::new(&store, tool::open_case))
            .step("hand-over", Tool::new(&store, tool::hand_over))
            .step("send-reply", move |ctx, draft| reply::send_reply(store.clone(), ctx, draft))
    }
}

/// The first order number in a text, in the form `#W1234567`; customers leave out the `#`.
#[must_use]
pub fn order_id(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| {
        let digits = word.strip_prefix(['W', 'w'])?;
        (digits.len() == 7 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| format!("#W{digits}"))
    })
}

/// Compiles the worker that the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
