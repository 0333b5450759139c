//! What the calls of one step use up: tokens and money, told to the worker at once and shown in the output.

use serde::{Deserialize, Serialize};
use stepmill_protocol::Usage;
use stepmill_worker::Context;
use stepmill_worker_engine::model::{ModelAnswer, NanoUsd, Tokens};

use crate::price::Prices;
use crate::provider::Found;

/// The output's `usage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmUsage {
    /// Calls to a model; answers that were kept from before are none.
    pub model_calls: u32,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Of those that were read, the ones that the service had kept.
    #[serde(default)]
    pub tokens_cached: u64,
    /// What it cost, in billionths of a US dollar, as far as the prices are known.
    pub cost_nano_usd: u64,
    /// What answers that were kept from before would have cost.
    #[serde(default)]
    pub saved_nano_usd: u64,
    /// Which price table this was computed with.
    pub prices: String,
    /// Each call.
    pub calls: Vec<CallUse>,
}

/// What one call used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallUse {
    /// Whose model.
    pub provider: String,
    /// The model, as it names itself.
    pub model: String,
    /// Its tokens.
    pub tokens: Tokens,
    /// What they cost, in billionths of a US dollar; null where nobody knows the price.
    pub cost_nano_usd: Option<NanoUsd>,
    /// Whether it was a follow-up that asked for a better form.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    /// Whether the answer was kept from before, and cost nothing this time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// Keeps the account of one step.
pub(super) struct Spent<'s> {
    prices: &'s Prices,
    ctx: &'s Context,
    pub(super) usage: LlmUsage,
}

impl<'s> Spent<'s> {
    pub(super) fn new(prices: &'s Prices, ctx: &'s Context) -> Self {
        Self { prices, ctx, usage: LlmUsage { prices: prices.version().to_owned(), ..LlmUsage::default() } }
    }

    /// A call goes out.
    pub(super) fn begin(&mut self) {
        self.usage.model_calls += 1;
        self.ctx.add_usage(Usage { model_calls: 1, ..Usage::default() });
    }

    /// It came back: before any check, since a useless answer costs as much as a good one.
    pub(super) fn add(&mut self, found: &Found, answer: &ModelAnswer, repair: bool) {
        let cost = self.cost(found, answer);
        let (tokens, nano) = (answer.tokens, cost.unwrap_or_default().0);
        let used = Usage {
            model_calls: 0,
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            tokens_cached: tokens.input_cached,
            cost_nano_usd: nano,
        };
        self.ctx.add_usage(used);
        self.usage.tokens_in += tokens.input;
        self.usage.tokens_out += tokens.output;
        self.usage.tokens_cached += tokens.input_cached;
        self.usage.cost_nano_usd = self.usage.cost_nano_usd.saturating_add(nano);
        self.note(found, answer, cost, repair, false);
    }

    /// An answer from before was used.
    pub(super) fn keep(&mut self, found: &Found, answer: &ModelAnswer) {
        let cost = self.cost(found, answer);
        self.usage.saved_nano_usd = self.usage.saved_nano_usd.saturating_add(cost.unwrap_or_default().0);
        self.note(found, answer, cost.map(|_| NanoUsd(0)), false, true);
    }

    /// The name that the service gives decides; where that is unknown, the one that was asked for.
    fn cost(&self, found: &Found, answer: &ModelAnswer) -> Option<NanoUsd> {
        let price = self.prices.of(&found.provider, &answer.model);
        let price = price.or_else(|| self.prices.of(&found.provider, &found.name))?;
        Some(price.of(&answer.tokens))
    }

    fn note(&mut self, found: &Found, answer: &ModelAnswer, cost: Option<NanoUsd>, repair: bool, kept: bool) {
        self.usage.calls.push(CallUse {
            provider: found.provider.clone(),
            model: answer.model.clone(),
            tokens: answer.tokens,
            cost_nano_usd: cost,
            repair,
            kept,
        });
    }
}
