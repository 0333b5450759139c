//! Tells the broker that tasks are still worked on, from a thread with a runtime of its own: a handler that blocks the
//! worker's threads must not look like a dead worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use stepmill_protocol::link::{AckId, Heartbeat, WorkerLink};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::measures::Measures;
use crate::retry::{Growing, RetrySchedule};

/// The broker hears of a task this often within one ack wait.
const SIGNS_PER_ACK_WAIT: u32 = 3;
/// Bounds the pace where a broker's ack wait is extremely short.
const PERIOD_MIN: Duration = Duration::from_millis(5);

/// The deliveries under way, each with the beat in which it arrived.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    beat: AtomicU64,
    acks: Mutex<BTreeMap<AckId, u64>>,
}

/// One delivery under way; dropping it ends its progress signs.
pub(crate) struct Tracked<'a> {
    in_flight: &'a InFlight,
    ack: &'a AckId,
}

impl InFlight {
    pub(crate) fn track<'a>(&'a self, ack: &'a AckId) -> Tracked<'a> {
        self.acks.lock().insert(ack.clone(), self.beat.load(Relaxed));
        Tracked { in_flight: self, ack }
    }

    /// The deliveries that have been under way for at least a whole beat: most tasks are through before that and cost
    /// no sign at all.
    fn due(&self) -> Vec<AckId> {
        let beat = self.beat.fetch_add(1, Relaxed);
        self.acks.lock().iter().filter(|(_, since)| **since < beat).map(|(ack, _)| ack.clone()).collect()
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.in_flight.acks.lock().remove(self.ack);
    }
}

/// Starts the thread. It ends when `stop` fires.
pub(crate) fn start(
    link: Arc<dyn WorkerLink>,
    measures: Arc<Measures>,
    in_flight: Arc<InFlight>,
    stop: CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("stepmill-beat".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = beat(link.as_ref(), &measures, &in_flight) => {}
            }
        });
    })
}

async fn beat(link: &dyn WorkerLink, measures: &Measures, in_flight: &InFlight) {
    let mut way = open(link, measures).await;
    let mut ticks = tokio::time::interval((way.ack_wait() / SIGNS_PER_ACK_WAIT).max(PERIOD_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        measures.vitals.beats();
        let due = in_flight.due();
        if !due.is_empty() {
            way.progress(&due).await;
        }
    }
}

async fn open(link: &dyn WorkerLink, measures: &Measures) -> Box<dyn Heartbeat> {
    let (pool, mut schedule) = (&measures.pool, Growing::link());
    loop {
        measures.vitals.beats();
        match link.heartbeat(pool).await {
            Ok(way) => return way,
            Err(error) => {
                let pause = schedule.next_delay();
                tracing::warn!(%pool, %error, ?pause, "cannot open the way for progress signs; trying again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_due_once_a_whole_beat_has_passed() {
        let in_flight = InFlight::default();
        let (a, b) = (AckId("a".into()), AckId("b".into()));
        let first = in_flight.track(&a);
        assert_eq!(in_flight.due(), vec![]);
        let second = in_flight.track(&b);
        assert_eq!(in_flight.due(), vec![a.clone()]);
        drop(first);
        assert_eq!(in_flight.due(), vec![b.clone()]);
        drop(second);
        assert_eq!(in_flight.due(), vec![]);
    }
}
