//! Whether a worker is alive and ready: what its parts say of themselves, judged when somebody asks. Alive is a worker that a
//! restart would not help; ready is one that gets tasks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// A part that says nothing for this long on top of its ordinary pause has stopped.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What the parts of a worker say of themselves.
#[derive(Debug)]
pub(crate) struct Vitals {
    began: Instant,
    joined: AtomicBool,
    stopping: AtomicBool,
    /// Whether the last fetch was answered.
    reached: AtomicBool,
    /// The last turns of the pulling loop and of the heartbeat, in milliseconds since `began`.
    pulled: AtomicU64,
    beaten: AtomicU64,
}

impl Vitals {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            joined: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            reached: AtomicBool::new(true),
            pulled: AtomicU64::new(0),
            beaten: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn silent_for(&self, part: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(part.load(Relaxed)))
    }

    /// The pool is joined; from now on the parts must show signs.
    pub(crate) fn joined(&self) {
        self.pulls();
        self.beats();
        self.joined.store(true, Relaxed);
    }

    /// The pulling loop begins another turn.
    pub(crate) fn pulls(&self) {
        self.pulled.store(self.now(), Relaxed);
    }

    /// A fetch was answered, or was not.
    pub(crate) fn fetched(&self, answered: bool) {
        self.reached.store(answered, Relaxed);
    }

    /// The heartbeat's thread begins another turn.
    pub(crate) fn beats(&self) {
        self.beaten.store(self.now(), Relaxed);
    }

    /// No more tasks are taken.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// What is wrong with a worker that has `in_flight` tasks under way. While it runs tasks its threads may be blocked by
    /// them, and its slots may all be taken; then only the heartbeat counts, which has a thread of its own.
    pub(crate) fn fault(&self, in_flight: u64, fetch_wait: Duration) -> Option<String> {
        if !self.joined.load(Relaxed) || self.stopping.load(Relaxed) {
            return None;
        }
        let (part, silent, limit) = if in_flight > 0 {
            ("gives no signs of its running tasks", self.silent_for(&self.beaten), SILENCE_MAX)
        } else {
            ("does not ask for tasks", self.silent_for(&self.pulled), SILENCE_MAX + fetch_wait)
        };
        (silent > limit).then(|| format!("{part} since {} s", silent.as_secs()))
    }

    /// Why it gets no tasks at the moment.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        if self.stopping.load(Relaxed) {
            return Some("is stopping");
        }
        if !self.joined.load(Relaxed) {
            return Some("has not joined its pool yet");
        }
        (!self.reached.load(Relaxed)).then_some("does not reach the broker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_a_fault_unless_tasks_run() {
        let vitals = Vitals::new();
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!((vitals.fault(0, WAIT), vitals.unready()), (None, Some("has not joined its pool yet")));
        vitals.joined();
        assert_eq!((vitals.fault(0, WAIT), vitals.unready()), (None, None));
        tokio::time::advance(Duration::from_secs(63)).await;
        vitals.beats();
        assert!(vitals.fault(0, WAIT).unwrap().contains("does not ask for tasks since 63 s"));
        assert_eq!(vitals.fault(1, WAIT), None, "all slots are taken, or all threads blocked");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(vitals.fault(1, WAIT).unwrap().contains("no signs"));
        vitals.pulls();
        vitals.beats();
        assert_eq!((vitals.fault(0, WAIT), vitals.fault(1, WAIT)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_drains_is_alive_and_not_ready() {
        let vitals = Vitals::new();
        vitals.joined();
        vitals.fetched(false);
        assert_eq!(vitals.unready(), Some("does not reach the broker"));
        vitals.stopping();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!((vitals.fault(1, WAIT), vitals.unready()), (None, Some("is stopping")));
    }
}
