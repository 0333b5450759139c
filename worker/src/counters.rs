//! What a worker has done so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use stepmill_worker_engine::Ending;

/// Numbers of a running worker; shared with whoever shows them.
#[derive(Debug, Default)]
pub struct Counters {
    in_flight: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    given_back: AtomicU64,
    skipped: AtomicU64,
    buried: AtomicU64,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries under way now.
    pub in_flight: u64,
    /// Attempts whose success is stored.
    pub succeeded: u64,
    /// Attempts whose failure is stored.
    pub failed: u64,
    /// Deliveries given back without a report.
    pub given_back: u64,
    /// Deliveries that did not need to run.
    pub skipped: u64,
    /// Deliveries put into the dead letters.
    pub buried: u64,
}

impl Counts {
    /// Attempts that were reported, well or badly.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.succeeded + self.failed
    }
}

impl Counters {
    /// The numbers now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            in_flight: self.in_flight.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
            given_back: self.given_back.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            buried: self.buried.load(Relaxed),
        }
    }

    /// Counts a delivery as under way until the answer is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        UnderWay(self)
    }

    pub(crate) fn ended(&self, ending: Ending) {
        let counter = match ending {
            Ending::Succeeded => &self.succeeded,
            Ending::Failed => &self.failed,
            Ending::GivenBack => &self.given_back,
            Ending::Skipped => &self.skipped,
            Ending::Buried => &self.buried,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// One delivery under way.
pub(crate) struct UnderWay<'a>(&'a Counters);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
