//! The retry policy of a step, with every expression already evaluated, so that it can travel with a task.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// When to try again and when to give up. `delay` before the first repetition, then as `backoff` says, at most
/// `delay_max` each, plus a jitter chosen evenly from `jitter`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The first delay.
    pub delay: Millis,
    /// How the delay grows.
    pub backoff: Backoff,
    /// Upper bound of one delay.
    pub delay_max: Millis,
    /// Added to each delay: from, to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<(Millis, Millis)>,
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// No new attempt later than this after the first began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_max: Option<Millis>,
}

/// How a delay grows from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always the same.
    Constant,
    /// The first delay once more with each attempt.
    Linear,
    /// Times `factor` with each attempt.
    Exponential {
        /// At least 1.
        factor: f64,
    },
}

impl RetryPolicy {
    /// The delay after `failed` attempts have failed (at least 1), without jitter.
    #[must_use]
    pub fn base_delay(&self, failed: u32) -> Millis {
        let n = failed.max(1) - 1;
        let d = match self.backoff {
            Backoff::Constant => self.delay.0,
            Backoff::Linear => self.delay.0.saturating_mul(u64::from(n) + 1),
            Backoff::Exponential { factor } => {
                let grown = self.delay.0 as f64 * factor.max(1.0).powi(i32::try_from(n).unwrap_or(i32::MAX));
                if grown >= self.delay_max.0 as f64 { self.delay_max.0 } else { grown as u64 }
            }
        };
        Millis(d.min(self.delay_max.0))
    }

    /// The delay with jitter; `chance` is an evenly spread number that the caller derives (the engine: from the command
    /// id, so that two coordinators that see the same failure choose the same time).
    #[must_use]
    pub fn delay(&self, failed: u32, chance: u64) -> Millis {
        let base = self.base_delay(failed).0;
        let extra = match self.jitter {
            Some((from, to)) if to > from => from.0 + chance % (to.0 - from.0 + 1),
            Some((from, _)) => from.0,
            None => 0,
        };
        Millis(base.saturating_add(extra))
    }
}
