//! What a worker shows to those who watch it: its slots, its attempts by kind and outcome, how long steps took and how long
//! tasks had waited.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use stepmill_protocol::{Millis, PoolName, StepKind};
use stepmill_worker_engine::Ending;

use crate::counters::Counters;
use crate::histogram::Histogram;
use crate::vitals::Vitals;

/// Every ending, with its word.
const ENDINGS: [(Ending, &str); 5] = [
    (Ending::Succeeded, "succeeded"),
    (Ending::Failed, "failed"),
    (Ending::GivenBack, "given_back"),
    (Ending::Skipped, "skipped"),
    (Ending::Buried, "buried"),
];
/// Stands for the kinds that this worker does not serve.
const OTHER: &str = "_other";

/// What is measured of one kind of step.
#[derive(Debug, Default)]
pub(crate) struct OfKind {
    endings: [AtomicU64; ENDINGS.len()],
    took: Histogram,
}

impl OfKind {
    pub(crate) fn ended(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn ran(&self, took: Millis) {
        self.took.note(took.into());
    }
}

/// What is measured of one worker.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) pool: PoolName,
    pub(crate) slots: usize,
    pub(crate) fetch_wait: Duration,
    pub(crate) vitals: Vitals,
    pub(crate) counters: Arc<Counters>,
    kinds: BTreeMap<StepKind, OfKind>,
    other: OfKind,
    waited: Histogram,
}

impl Measures {
    pub(crate) fn new(pool: PoolName, slots: usize, fetch_wait: Duration, kinds: Vec<StepKind>) -> Self {
        Self {
            pool,
            slots,
            fetch_wait,
            vitals: Vitals::new(),
            counters: Arc::default(),
            kinds: kinds.into_iter().map(|kind| (kind, OfKind::default())).collect(),
            other: OfKind::default(),
            waited: Histogram::default(),
        }
    }

    /// Where a kind is counted; those that are not served, and messages that are no task, together.
    pub(crate) fn kind(&self, kind: Option<&StepKind>) -> &OfKind {
        kind.and_then(|kind| self.kinds.get(kind)).unwrap_or(&self.other)
    }

    /// A task waited this long for its first worker.
    pub(crate) fn waited(&self, wait: Millis) {
        self.waited.note(wait.into());
    }

    fn of_kinds(&self) -> impl Iterator<Item = (&str, &OfKind)> {
        self.kinds.iter().map(|(kind, of)| (kind.as_str(), of)).chain([(OTHER, &self.other)])
    }
}

/// Writes the measures of some workers in the text form of OpenMetrics.
pub(crate) fn encode(workers: &[Arc<Measures>], mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    let gauge = MetricType::Gauge;
    let mut family = encoder.encode_descriptor("stepmill_worker_slots", "Tasks that may run at a time", None, gauge)?;
    for worker in workers {
        let labels = [("pool", worker.pool.as_str())];
        family.encode_family(&labels)?.encode_gauge(&i64::try_from(worker.slots).unwrap_or(i64::MAX))?;
    }
    let help = "Tasks under way";
    let mut family = encoder.encode_descriptor("stepmill_worker_slots_busy", help, None, gauge)?;
    for worker in workers {
        let labels = [("pool", worker.pool.as_str())];
        let busy = i64::try_from(worker.counters.counts().in_flight).unwrap_or(i64::MAX);
        family.encode_family(&labels)?.encode_gauge(&busy)?;
    }
    let help = "Deliveries that ended, by kind of step and outcome";
    let mut family = encoder.encode_descriptor("stepmill_attempts", help, None, MetricType::Counter)?;
    for worker in workers {
        for (kind, of) in worker.of_kinds() {
            for (ending, outcome) in ENDINGS {
                let labels = [("pool", worker.pool.as_str()), ("kind", kind), ("outcome", outcome)];
                let count = of.endings[ending as usize].load(Relaxed);
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
    }
    let help = "How long handlers took, by kind of step";
    let mut family = encoder.encode_descriptor("stepmill_step_seconds", help, None, MetricType::Histogram)?;
    for worker in workers {
        for (kind, of) in worker.of_kinds() {
            let (labels, shown) = ([("pool", worker.pool.as_str()), ("kind", kind)], of.took.shown());
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(shown.sum, shown.count, &shown.buckets, None)?;
        }
    }
    let help = "How long tasks lay in the queue before their first delivery";
    let mut family = encoder.encode_descriptor("stepmill_queue_wait_seconds", help, None, MetricType::Histogram)?;
    for worker in workers {
        let (labels, shown) = ([("pool", worker.pool.as_str())], worker.waited.shown());
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(shown.sum, shown.count, &shown.buckets, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_counted_under_its_word() {
        for (place, (ending, _)) in ENDINGS.into_iter().enumerate() {
            assert_eq!(ending as usize, place);
        }
    }
}
