//! How long each of many things took.

use std::time::Duration;

/// Durations, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    /// Milliseconds below which this share of them lies (nearest rank); nothing where there is none.
    pub(crate) fn ms(&self, share: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted.get(rank - 1).map(|time| time.as_secs_f64() * 1000.0)
    }

    /// The median in seconds.
    pub(crate) fn median_s(&self) -> f64 {
        self.ms(0.5).unwrap_or_default() / 1000.0
    }
}

/// Three digits behind the point, which is more than any of our figures holds.
pub(crate) fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let times = Times((1..=100).map(Duration::from_millis).collect());
        assert_eq!(times.ms(0.50), Some(50.0));
        assert_eq!(times.ms(0.99), Some(99.0));
        assert_eq!(Times(vec![Duration::from_millis(7)]).ms(0.99), Some(7.0));
        assert_eq!(Times::default().ms(0.5), None);
    }
}
