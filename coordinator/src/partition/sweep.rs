//! Finds dispatches whose message is gone from its stream though nothing was reported. Never acts on backlog or on age.

use std::time::Duration;

use stepmill_protocol::{Event, LogRecord};

use super::owner::{Inner, Owner};

/// A message younger than this is not looked at: its report is most likely on the way.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Messages of one pool looked at per sweep; with more, the sweeps take turns.
const LOOKED_AT_MAX: usize = 256;

impl Owner {
    /// Looks, in the background, which published messages are gone. A worker acks only after its report is stored, so a report of
    /// a message that is gone lies in the log by the time the log's end is asked for.
    pub(super) fn sweep(&mut self) {
        if self.sweeping || self.quiet_until.is_some() {
            return;
        }
        let before = Self::instant().checked_sub(SETTLED_AFTER).unwrap_or_else(Self::instant);
        let pools = self.outbox.published_before(before);
        if pools.is_empty() {
            return;
        }
        let pools: Vec<_> = pools
            .into_iter()
            .map(|(pool, mut messages)| {
                messages.sort_unstable_by_key(|(_, at)| at.seq);
                let begin = self.swept % messages.len().max(1);
                messages.rotate_left(begin);
                messages.truncate(LOOKED_AT_MAX);
                (pool, messages)
            })
            .collect();
        self.swept = self.swept.wrapping_add(LOOKED_AT_MAX);
        self.sweeping = true;
        let (ports, partition, inner) = (self.shared.ports.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            for (pool, messages) in pools {
                let positions: Vec<_> = messages.iter().map(|(_, at)| at.clone()).collect();
                let gone = match ports.tasks.gone(&pool, &positions).await {
                    Ok(gone) => gone,
                    Err(error) => {
                        tracing::debug!(%pool, %error, "cannot compare dispatches with the queue");
                        continue;
                    }
                };
                let gone: Vec<_> =
                    messages.iter().zip(gone).filter(|(_, gone)| *gone).map(|((id, _), _)| *id).collect();
                if gone.is_empty() {
                    continue;
                }
                if let Ok(tail) = ports.log.tail(partition).await {
                    inner.send(Inner::Gone(gone, tail)).ok();
                }
            }
            inner.send(Inner::Swept).ok();
        });
    }

    /// Reports those lost that are still open now that the log is folded up to where it ended when they were seen to be gone.
    pub(super) fn report_gone(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let cursor = self.cursor.seq;
        let (known, wait): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.gone).into_iter().partition(|(tail, _)| *tail <= cursor);
        self.gone = wait;
        let records: Vec<LogRecord> = known
            .into_iter()
            .flat_map(|(_, ids)| ids)
            .filter(|id| self.outbox.is_open(id))
            .map(|id| LogRecord { run: id.run, event: Event::TaskLost { id }, reply: None })
            .collect();
        if !records.is_empty() {
            tracing::warn!(partition = %self.partition, tasks = records.len(), "task messages are gone; dispatching again");
        }
        self.append_later(records);
    }
}
