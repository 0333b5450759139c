//! Pulls tasks while there are free slots, never more than that, and drains at the end. A slot comes back by drop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stepmill_protocol::link::Delivery;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limit;
use crate::retry::{Growing, RetrySchedule};
use crate::runner::Runner;

/// Pulls until `stop` fires, then waits for what runs: the grace time long, and a little longer for tasks that are
/// being given back.
pub(crate) async fn pull(runner: Arc<Runner>, stop: CancellationToken) {
    let running = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(runner.settings.slots));
    let mut schedule = Growing::link();
    let mut busy = false;
    while let Some(free) = free_slots(&runner, &slots, busy, &stop).await {
        let asked = free.num_permits();
        let began = Instant::now();
        runner.measures.vitals.pulls();
        let fetched = tokio::select! {
            biased;
            fetched = runner.link.fetch(&runner.settings.pool, asked, runner.settings.fetch_wait) => fetched,
            () = given_up(&stop) => break,
        };
        runner.measures.vitals.fetched(fetched.is_ok());
        match fetched {
            Ok(deliveries) => {
                schedule.reset();
                busy = deliveries.len() >= asked;
                let early = deliveries.is_empty() && began.elapsed() < runner.settings.fetch_wait / 2;
                hand_out(&runner, &running, deliveries, free, &stop).await;
                if early {
                    pause(limit::EMPTY_FETCH_PAUSE, &stop).await;
                }
            }
            Err(error) => {
                drop(free);
                let delay = schedule.next_delay();
                tracing::warn!(pool = %runner.settings.pool, %error, ?delay, "cannot fetch tasks; trying again");
                pause(delay, &stop).await;
            }
        }
    }
    drain(&runner, &running).await;
    if tokio::time::timeout(limit::SETTLE_TIMEOUT, runner.link.flush()).await.is_err() {
        tracing::warn!("the broker does not take the last acks");
    }
}

/// A fetch under way when the worker stops may still bring tasks, which are then given back at once; it is left alone
/// for a moment, not for its whole wait. What it brings later comes again after the ack wait.
async fn given_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(limit::STOPPED_FETCH_WAIT).await;
}

/// All slots that are free; waits for the first. `None` once the worker stops.
async fn free_slots(
    runner: &Runner,
    slots: &Arc<Semaphore>,
    busy: bool,
    stop: &CancellationToken,
) -> Option<OwnedSemaphorePermit> {
    let mut free = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        slot = Arc::clone(slots).acquire_owned() => slot.ok()?,
    };
    if busy && slots.available_permits() < runner.settings.slots / 4 {
        tokio::time::sleep(limit::GATHER_PAUSE).await;
    }
    let more = u32::try_from(slots.available_permits()).unwrap_or(0);
    if let Ok(others) = Arc::clone(slots).try_acquire_many_owned(more) {
        free.merge(others);
    }
    Some(free)
}

/// Starts each delivery in a slot of its own; what arrives without a slot or after the stop goes back.
async fn hand_out(
    runner: &Arc<Runner>,
    running: &TaskTracker,
    deliveries: Vec<Delivery>,
    mut free: OwnedSemaphorePermit,
    stop: &CancellationToken,
) {
    for delivery in deliveries {
        let slot = if stop.is_cancelled() { None } else { free.split(1) };
        match slot {
            Some(slot) => {
                // Boxed, since the runtime copies a task's future when it begins and over again when it ends.
                running.spawn(Box::pin(Arc::clone(runner).handle(delivery, slot)));
            }
            None => {
                if let Err(error) = runner.link.nak(&delivery.ack, Duration::ZERO).await {
                    tracing::warn!(%error, "a task could not be given back; the broker delivers it again by itself");
                }
            }
        }
    }
}

async fn pause(delay: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(delay) => {}
    }
}

async fn drain(runner: &Runner, running: &TaskTracker) {
    running.close();
    if tokio::time::timeout(runner.settings.grace, running.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(left = running.len(), grace = ?runner.settings.grace, "the grace time is over; tasks are given back");
    runner.drained.cancel();
    if tokio::time::timeout(limit::DRAIN_EXTRA, running.wait()).await.is_err() {
        tracing::error!(left = running.len(), "handlers do not give way; the broker delivers their tasks again");
    }
}
