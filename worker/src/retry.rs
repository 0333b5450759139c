//! The only user of the `backoff` crate: delays between attempts at a step, and between tries at a broker that is
//! away. Everything else sees the trait [`RetrySchedule`], so that the crate can be changed in this file.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use stepmill_protocol::retry::Backoff;
use stepmill_protocol::{AttemptNo, Millis, RetryPolicy};

/// Gives one delay after the other.
pub trait RetrySchedule: Send {
    /// The delay before the next try.
    fn next_delay(&mut self) -> Duration;

    /// Begins anew after a success.
    fn reset(&mut self);
}

/// Delays that grow by a factor up to a limit, without end.
pub struct Growing(ExponentialBackoff);

impl Growing {
    /// From `first`, times `factor` each, up to `max`; each spread evenly over plus and minus `spread` (0 to 1).
    #[must_use]
    pub fn new(first: Duration, factor: f64, max: Duration, spread: f64) -> Self {
        let first = first.min(max);
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: spread.clamp(0.0, 1.0),
            multiplier: if factor.is_finite() { factor.max(1.0) } else { 1.0 },
            max_interval: max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// For a broker that is away: from 50 ms up to 5 s, spread by half so that a fleet does not come back in step.
    #[must_use]
    pub fn link() -> Self {
        Self::new(Duration::from_millis(50), 2.0, Duration::from_secs(5), 0.5)
    }
}

impl RetrySchedule for Growing {
    fn next_delay(&mut self) -> Duration {
        // Without a total duration the schedule has no end.
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The delay after attempt `attempt` of a step has failed, by the step's policy. `chance` chooses the jitter.
#[must_use]
pub fn step_delay(policy: &RetryPolicy, attempt: AttemptNo, chance: u64) -> Millis {
    let jitter = policy.delay(1, chance).0.saturating_sub(policy.base_delay(1).0);
    let base = match policy.backoff {
        Backoff::Constant | Backoff::Linear => policy.base_delay(attempt.0),
        Backoff::Exponential { factor } => {
            let mut schedule = Growing::new(policy.delay.into(), factor, policy.delay_max.into(), 0.0);
            nth(&mut schedule, attempt.0, policy.delay_max)
        }
    };
    Millis(base.0.saturating_add(jitter))
}

/// The delay after `failed` tries; stops early once the schedule has reached `max`.
fn nth(schedule: &mut dyn RetrySchedule, failed: u32, max: Millis) -> Millis {
    let mut delay = Millis(0);
    for _ in 0..failed.clamp(1, stepmill_protocol::limit::ATTEMPTS_MAX) {
        // The crate counts in fractions; a microsecond more keeps 99.9999 ms from becoming 99.
        delay = Millis::from(schedule.next_delay() + Duration::from_micros(1));
        if delay >= max {
            return max;
        }
    }
    delay
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(backoff: Backoff) -> RetryPolicy {
        RetryPolicy {
            delay: Millis(100),
            backoff,
            delay_max: Millis(1_000),
            jitter: None,
            attempts_max: 10,
            duration_max: None,
        }
    }

    #[test]
    fn delays_follow_the_policy() {
        let table = |backoff| {
            let p = policy(backoff);
            (1..=6).map(|n| step_delay(&p, AttemptNo(n), 0).0).collect::<Vec<_>>()
        };
        assert_eq!(table(Backoff::Constant), [100, 100, 100, 100, 100, 100]);
        assert_eq!(table(Backoff::Linear), [100, 200, 300, 400, 500, 600]);
        assert_eq!(table(Backoff::Exponential { factor: 2.0 }), [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn jitter_stays_in_its_range() {
        let p = RetryPolicy { jitter: Some((Millis(5), Millis(9))), ..policy(Backoff::Exponential { factor: 2.0 }) };
        let seen: std::collections::BTreeSet<u64> =
            (0..100).map(|chance| step_delay(&p, AttemptNo(2), chance).0).collect();
        assert_eq!(seen, (205..=209).collect());
    }

    #[test]
    fn broker_delays_grow_to_their_limit_and_begin_anew() {
        let mut schedule = Growing::link();
        let delays: Vec<Duration> = (0..20).map(|_| schedule.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(76), "{delays:?}");
        assert!(delays[19] >= Duration::from_millis(2_500), "{delays:?}");
        assert!(delays.iter().all(|d| *d <= Duration::from_millis(7_501)), "{delays:?}");
        schedule.reset();
        assert!(schedule.next_delay() <= Duration::from_millis(76));
    }

    proptest! {
        /// The engine computes the same delays without the crate; both must tell users the same time.
        #[test]
        fn the_crate_agrees_with_the_contract(
            delay in 0_u64..100_000, max in 1_u64..10_000_000, factor in 1.0_f64..8.0, n in 1_u32..60,
        ) {
            let p = RetryPolicy {
                delay: Millis(delay), delay_max: Millis(max), ..policy(Backoff::Exponential { factor })
            };
            let (ours, theirs) = (step_delay(&p, AttemptNo(n), 0).0, p.base_delay(n).0);
            // Rounding once per attempt instead of once in all costs at most a millionth.
            prop_assert!(ours.abs_diff(theirs) <= 1 + theirs / 1_000_000, "{ours} {theirs}");
        }
    }
}
