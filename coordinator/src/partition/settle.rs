//! What happens after the commit: dispatches and timers become true, answers go out, whoever watches is woken, runs that want
//! another turn get it.

use std::collections::BTreeMap;
use std::time::Duration;

use stepmill_protocol::{Event, LogRecord, PartitionNo, PoolName};

use super::owner::{Inner, Owner};
use super::work::{LISTENING, LISTENING_SEQ, TURN, Work};
use crate::port::queue::Log;
use crate::port::store::Published;

/// Waits between tries to append.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Owner {
    /// Makes a committed batch true outside of the store. Publishing follows in [`Owner::catch_up`].
    pub(super) fn settle(&mut self, work: Work) {
        let Work { dirty, outbox, timers, yields, answers, revoked, holds, unpaused, told, .. } = work;
        self.tell(told);
        if unpaused | self.holds.take(holds) {
            self.outbox.release_held();
        }
        let mut useless = BTreeMap::<PoolName, Vec<Published>>::new();
        self.outbox.at(Self::instant());
        for (id, open) in outbox {
            match open {
                Some((pool, priority)) => {
                    // A repeated dispatch: the one before may still be somewhere, so the worker asks first.
                    let again = id.dispatch > 1 || self.quiet_until.is_some();
                    self.outbox.open(id, pool, priority, again);
                }
                None if revoked.contains(&id) => {
                    self.acts.end(&id);
                    if let Some((pool, at)) = self.outbox.revoke(&id) {
                        useless.entry(pool).or_default().push(at);
                    }
                }
                None => {
                    self.acts.end(&id);
                    self.outbox.settle(&id);
                }
            }
        }
        self.remove_later(useless);
        for (key, due) in timers {
            match due {
                _ if [TURN, LISTENING, LISTENING_SEQ].contains(&key.1) => {}
                Some(due) => self.timers.arm(key, due),
                None => self.timers.disarm(key),
            }
        }
        for (address, folded) in answers {
            self.shared.ports.bus.answer(&address, &folded);
        }
        for id in &dirty {
            let Some((run, plan)) = self.cache.get(id).and_then(|c| Some((c.run.as_ref()?, c.plan.as_ref()))) else {
                continue;
            };
            let (rev, ended, done) = (run.rev(), run.state().is_final(), run.is_done());
            self.watchers.wake(*id, rev, ended, || Some(run.view(plan?)));
            if done {
                self.cache.remove(id);
            } else {
                self.note_long(*id);
            }
        }
        for (run, number) in yields {
            match number {
                Some(number) => self.turns.insert(run, number),
                None => self.turns.remove(&run),
            };
        }
    }

    /// Gives runs that passed many steps in one fold their next turn. The store knows of them as timers, see [`TURN`].
    pub(super) fn give_turns(&mut self) {
        let records = std::mem::take(&mut self.turns)
            .into_iter()
            .map(|(run, number)| LogRecord { run, event: Event::Resume { number }, reply: None })
            .collect();
        self.append_later(records);
    }

    /// Takes messages out of their queues whose steps nobody waits for any more, so that no worker begins them. Best effort: a
    /// worker that has begun finds out from the answer to its report or its next question.
    pub(super) fn remove_later(&self, useless: BTreeMap<PoolName, Vec<Published>>) {
        for (pool, messages) in useless {
            let tasks = self.shared.ports.tasks.clone();
            tokio::spawn(async move { tasks.remove(&pool, &messages).await });
        }
    }

    /// Appends records of this partition in the background. They are repeated until they are stored or the owner is gone: each of
    /// them is derived from committed state, so the next owner would append it again.
    pub(super) fn append_later(&self, records: Vec<LogRecord>) {
        if records.is_empty() {
            return;
        }
        let (log, partition, alive) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            append_all(log.as_ref(), partition, &records, || !alive.is_closed()).await;
        });
    }

    /// Hands due timers to the log.
    pub(super) fn fire_timers(&mut self) {
        let keys = self.timers.take_due(self.shared.clock.now());
        if keys.is_empty() {
            return;
        }
        let records: Vec<LogRecord> = keys
            .iter()
            .map(|(run, timer)| LogRecord { run: *run, event: Event::TimerDue { timer: *timer }, reply: None })
            .collect();
        let (log, partition, inner) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            if let Err(error) = log.append(partition, &records).await {
                tracing::warn!(%partition, %error, "due timers did not reach the log; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                // The owner may be gone by now; the next one fires them.
                inner.send(Inner::TimersLate(keys)).ok();
            }
        });
    }
}

/// Appends records, again and again until each is stored, cannot be (it is said and left out), or nobody is `wanted` any more. Gives the
/// highest position of one that is stored; 0 where none is.
pub(super) async fn append_all(
    log: &dyn Log,
    partition: PartitionNo,
    records: &[LogRecord],
    wanted: impl Fn() -> bool,
) -> u64 {
    let highest = |places: Vec<u64>| places.into_iter().max().unwrap_or(0);
    if records.len() > 1
        && let Ok(places) = log.append(partition, records).await
    {
        return highest(places);
    }
    // One by one: a record that cannot be stored keeps no other away. One that is stored twice is a duplicate to the engine.
    let mut last = 0;
    for record in records {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match log.append(partition, std::slice::from_ref(record)).await {
                Ok(places) => break last = last.max(highest(places)),
                Err(error) => error,
            };
            let (run, event) = (record.run, record.event.name());
            if !error.retryable {
                tracing::error!(%partition, %run, event, %error, "a record cannot be stored in the log and is left out");
                break;
            }
            if !wanted() {
                return last;
            }
            tracing::warn!(%partition, %run, event, %error, "cannot append to the log; trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
    last
}
