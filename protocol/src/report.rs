//! What a worker says about an attempt.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AttemptNo, CommandId, StepPath, TaskToken};
use crate::problem::Problem;
use crate::time::Millis;

/// A worker's word on one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The dispatch that was worked on.
    pub id: CommandId,
    /// The place in the plan, for people who read the log.
    pub path: StepPath,
    /// The task's token.
    pub token: TaskToken,
    /// The attempt.
    pub attempt: AttemptNo,
    /// How it went.
    pub outcome: ReportOutcome,
    /// Who ran it, for people.
    pub worker: String,
    /// How long the handler took.
    pub took: Millis,
    /// What it used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportOutcome {
    /// It gave a result.
    Succeeded {
        /// The result.
        output: Value,
    },
    /// It did not.
    Failed {
        /// Why.
        problem: Problem,
        /// Whether another attempt could go better.
        retryable: bool,
        /// Not before this long from now (`Retry-After` and the like).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Millis>,
        /// The worker has the broker deliver the same task again after this delay; the engine need not dispatch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redeliver_after: Option<Millis>,
    },
}

/// What an attempt used up of things that cost money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Calls to a model.
    #[serde(default)]
    pub model_calls: u32,
    /// Tokens read by it.
    #[serde(default)]
    pub tokens_in: u64,
    /// Tokens written by it.
    #[serde(default)]
    pub tokens_out: u64,
    /// Of the tokens read, those that the model's service had kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens_cached: u64,
    /// What it cost, in billionths of a US dollar, as far as the prices are known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_nano_usd: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Usage {
    /// Adds another use to this one.
    pub fn add(&mut self, other: Self) {
        self.model_calls = self.model_calls.saturating_add(other.model_calls);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.tokens_cached = self.tokens_cached.saturating_add(other.tokens_cached);
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
    }
}
