//! `/live`, `/ready` and `/metrics` of a coordinator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use stepmill_protocol::PoolName;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::measures::Counted;
use crate::port::queue::Backlog;
use crate::shared::Shared;

/// What was asked of the servers is not asked again for this long.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// How long they may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The form of `/metrics`.
pub(crate) const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The backlog of every pool, and when it was asked for.
type Asked = Option<(Instant, Result<BTreeMap<PoolName, Backlog>, String>)>;

/// Answers the questions of those who watch a coordinator.
#[derive(Clone)]
pub(crate) struct Health {
    shared: Arc<Shared>,
    owned: watch::Receiver<usize>,
    /// Held while the servers are asked, so that many who watch cost no more than one.
    asked: Arc<Mutex<Asked>>,
}

impl Health {
    pub(crate) fn new(shared: Arc<Shared>, owned: watch::Receiver<usize>) -> Self {
        Self { shared, owned, asked: Arc::default() }
    }

    fn owned(&self) -> usize {
        *self.owned.borrow()
    }

    /// Whether the owners turn.
    pub(crate) fn live(&self) -> (StatusCode, String) {
        match self.shared.vitals.fault() {
            None => (StatusCode::OK, "ok\n".into()),
            Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault + "\n"),
        }
    }

    /// Whether the servers answer and the partitions have owners.
    pub(crate) async fn ready(&self) -> (StatusCode, String) {
        let owned = self.owned();
        if let Some(reason) = self.shared.vitals.unready(owned) {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"));
        }
        match self.backlogs().await {
            Ok(_) => (StatusCode::OK, format!("owns {owned} of {} partitions\n", self.shared.partitions)),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("the queues do not answer: {reason}\n")),
        }
    }

    /// All numbers, in the text form of OpenMetrics. Those of the queues are left out while nobody can tell them.
    pub(crate) async fn metrics(&self) -> Result<String, fmt::Error> {
        let backlogs = self.backlogs().await.unwrap_or_else(|error| {
            tracing::warn!(error, "the backlog of the pools is not known");
            BTreeMap::new()
        });
        let shown = Shown {
            owned: self.owned(),
            partitions: self.shared.partitions,
            counted: self.shared.measures.counted(),
            backlogs,
            now: Instant::now(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(shown));
        let mut body = String::new();
        text::encode(&mut body, &registry)?;
        Ok(body)
    }

    async fn backlogs(&self) -> Result<BTreeMap<PoolName, Backlog>, String> {
        let mut asked = self.asked.lock().await;
        if let Some((at, answer)) = &*asked
            && at.elapsed() < ASKED_EVERY
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(ANSWER_WITHIN, self.shared.ports.tasks.backlogs()).await {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
        };
        *asked = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// The numbers of one moment.
#[derive(Debug)]
struct Shown {
    owned: usize,
    partitions: u16,
    counted: Counted,
    backlogs: BTreeMap<PoolName, Backlog>,
    now: Instant,
}

impl Shown {
    /// What waits in a pool's queue, and what this coordinator holds back for it.
    fn waiting(&self, pool: &PoolName, backlog: &Backlog) -> (u64, Duration) {
        match self.counted.held.pools.get(pool) {
            None => (backlog.waiting, backlog.oldest),
            Some((held, since)) => (backlog.waiting + held, backlog.oldest.max(self.now - *since)),
        }
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        let pools = || self.backlogs.iter().map(|(pool, backlog)| (pool, self.waiting(pool, backlog)));
        let age = "Age of the oldest task of a pool that no worker has taken; 0 where none waits";
        by_pool(out, "stepmill_backlog_seconds", age, pools().map(|(pool, (_, oldest))| (pool, oldest.as_secs_f64())))?;
        let count = "Tasks of a pool that no worker has taken: in its queue, and held back by this coordinator";
        by_pool(out, "stepmill_backlog_tasks", count, pools().map(|(pool, (waiting, _))| (pool, float(waiting))))?;
        let running = "Tasks of a pool that workers have taken and not finished";
        let of = self.backlogs.iter().map(|(pool, backlog)| (pool, float(backlog.running)));
        by_pool(out, "stepmill_running_tasks", running, of)?;
        let held = "Tasks of a pool that this coordinator holds back because its queue is full enough";
        let of = self.backlogs.keys().map(|pool| (pool, self.counted.held.pools.get(pool).map_or(0, |held| held.0)));
        by_pool(out, "stepmill_outbox_tasks", held, of.map(|(pool, count)| (pool, float(count))))?;
        let oldest = self.counted.held.oldest.map_or(Duration::ZERO, |since| self.now - since).as_secs_f64();
        gauge(out, "stepmill_outbox_seconds", "Age of the oldest open task that is in no queue yet", oldest)?;
        gauge(out, "stepmill_partitions_owned", "Partitions that this coordinator owns", float(self.owned as u64))?;
        gauge(out, "stepmill_partitions", "Partitions of the installation", f64::from(self.partitions))?;
        let help = "Partitions that this coordinator took up, from others or when it started";
        counter(out, "stepmill_takeovers", help, self.counted.taken_up)?;
        counter(out, "stepmill_events_folded", "Events that were folded and committed", self.counted.folded)?;
        let help = "Runs that ended, by outcome";
        let mut family = out.encode_descriptor("stepmill_runs_ended", help, None, MetricType::Counter)?;
        for (state, count) in &self.counted.ended {
            let labels = [("outcome", state.as_str())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people and graphs")]
fn float(count: u64) -> f64 {
    count as f64
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn by_pool<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a PoolName, f64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (pool, value) in values {
        let labels = [("pool", pool.as_str())];
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::Held;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_counts_and_nothing_is_exactly_zero() {
        let (busy, idle) = (PoolName::new("busy").unwrap(), PoolName::new("idle").unwrap());
        let since = Instant::now();
        tokio::time::advance(Duration::from_secs(9)).await;
        let held = Held { pools: BTreeMap::from([(busy.clone(), (5, since))]), oldest: Some(since) };
        let backlog = Backlog { waiting: 10, oldest: Duration::from_secs(4), running: 2 };
        let shown = Shown {
            owned: 3,
            partitions: 8,
            counted: Counted { held, folded: 7, ..Counted::default() },
            backlogs: BTreeMap::from([(busy, backlog), (idle, Backlog::default())]),
            now: Instant::now(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(shown));
        let mut body = String::new();
        text::encode(&mut body, &registry).unwrap();
        for line in [
            "stepmill_backlog_seconds{pool=\"busy\"} 9.0",
            "stepmill_backlog_seconds{pool=\"idle\"} 0.0",
            "stepmill_backlog_tasks{pool=\"busy\"} 15.0",
            "stepmill_backlog_tasks{pool=\"idle\"} 0.0",
            "stepmill_running_tasks{pool=\"busy\"} 2.0",
            "stepmill_outbox_seconds 9.0",
            "stepmill_partitions_owned 3.0",
            "stepmill_events_folded_total 7",
        ] {
            assert!(body.lines().any(|l| l == line), "{line} is missing in\n{body}");
        }
    }
}
