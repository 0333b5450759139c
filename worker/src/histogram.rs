//! How long things took, in buckets. Noting one costs two relaxed additions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper ends of the buckets, in milliseconds; above the last there is one more.
const BOUNDS_MS: [u64; 15] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 120_000, 600_000];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    micros: AtomicU64,
}

/// The same at one moment.
pub(crate) struct Shown {
    /// All seconds together.
    pub(crate) sum: f64,
    /// How many there were.
    pub(crate) count: u64,
    /// Upper end in seconds, and how many lie in this bucket alone; the last one has no end.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Notes one.
    pub(crate) fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_MS.partition_point(|end| end * 1_000 < micros);
        self.buckets[place].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "shown to people and graphs")]
    pub(crate) fn shown(&self) -> Shown {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Relaxed)).collect();
        let ends = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1_000.0).chain([f64::INFINITY]);
        Shown {
            sum: self.micros.load(Relaxed) as f64 / 1_000_000.0,
            count: counts.iter().sum(),
            buckets: ends.zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_bucket_belongs_to_it() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 600_000, 600_001] {
            histogram.note(Duration::from_millis(millis));
        }
        let shown = histogram.shown();
        let filled: Vec<(f64, u64)> = shown.buckets.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.005, 1), (600.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((shown.count, shown.sum), (5, 1_200.004));
    }
}
