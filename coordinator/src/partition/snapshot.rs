//! Copies of live runs in the log, from which it can be folded again: of every run when the log lost its end, and of a run before
//! too many of its events or half of the log's age have passed.

use std::time::Duration;

use stepmill_protocol::{Event, LogRecord, RunId, limit};

use super::OwnerError;
use super::owner::Owner;
use super::settle::append_all;

/// Runs copied or looked at at a time.
const PAGE: usize = 100;
/// How often all live runs are looked at.
const PASS_EVERY: Duration = Duration::from_secs(3600);

impl Owner {
    /// Copies every live run into the log and waits until that is stored.
    pub(super) async fn copy_all_runs(&mut self) -> Result<(), OwnerError> {
        let mut after = None;
        loop {
            let page = self.shared.ports.store.live_runs(self.partition, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            self.copy_runs(&page).await?;
        }
        // A run may have ended and still have something to say.
        let asking: Vec<RunId> = self.outbox.asking().into_iter().collect();
        for page in asking.chunks(PAGE) {
            self.load(page.iter().copied()).await?;
            let run = |id: &RunId| self.cache.get(id).and_then(|c| c.run.as_ref());
            let ended = page.iter().filter(|id| run(id).is_some_and(|run| run.state().is_final())).copied();
            let ended: Vec<RunId> = ended.collect();
            self.copy_runs(&ended).await?;
        }
        Ok(())
    }

    async fn copy_runs(&mut self, page: &[RunId]) -> Result<(), OwnerError> {
        self.load(page.iter().copied()).await?;
        let mut records = Vec::with_capacity(page.len());
        for id in page {
            records.extend(self.copy(*id)?);
        }
        append_all(self.shared.ports.log.as_ref(), self.partition, &records, || true).await;
        self.cache.trim();
        Ok(())
    }

    /// Copies runs in memory whose last copy is too far back, in the background.
    pub(super) fn copy_long_runs(&mut self) -> Result<(), OwnerError> {
        if self.long.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        for id in std::mem::take(&mut self.long) {
            records.extend(self.copy(id)?);
        }
        self.append_later(records);
        Ok(())
    }

    /// Looks at some of the stored live runs, whether their last copy has become too old: a run that waits for weeks changes nothing
    /// and would never be noticed otherwise. One page per sweep, one pass per hour.
    pub(super) async fn look_for_old(&mut self) -> Result<(), OwnerError> {
        let now = Self::instant();
        if now < self.next_pass {
            return Ok(());
        }
        let page = self.shared.ports.store.live_runs(self.partition, self.passed, PAGE).await?;
        self.passed = page.last().copied();
        let page = if page.is_empty() {
            self.next_pass = now + PASS_EVERY;
            // At the end of a pass those that have ended and still have something to say.
            self.outbox.asking().into_iter().take(PAGE).collect()
        } else {
            page
        };
        self.load(page.iter().copied()).await?;
        for id in page {
            self.note_long(id);
        }
        self.cache.trim();
        self.copy_long_runs()
    }

    /// Notes a run whose events since its last copy have become many.
    pub(super) fn note_long(&mut self, id: RunId) {
        let Some(run) = self.cache.get(&id).and_then(|c| c.run.as_ref()) else { return };
        let half_age = u64::try_from(self.shared.config.log_age.as_millis() / 2).unwrap_or(u64::MAX);
        let old = self.shared.clock.now().since(run.snapshot_at()).0 > half_age;
        if !run.is_done() && (run.events_since_snapshot() >= limit::SNAPSHOT_EVENTS || old) {
            self.long.insert(id);
        }
    }

    fn copy(&mut self, id: RunId) -> Result<Option<LogRecord>, OwnerError> {
        let (now, as_of) = (self.shared.clock.now(), self.cursor.seq);
        let Some(run) = self.cache.get_mut(&id).and_then(|c| c.run.as_mut()) else { return Ok(None) };
        run.mark_snapshot(now);
        let values = run.all_values().into_iter().map(|(id, v)| (id, v.as_ref().clone())).collect();
        let event = Event::Snapshot { state: run.encode()?, values, as_of };
        Ok(Some(LogRecord { run: id, event, reply: None }))
    }
}
