//! The stream of events, read in the background.

use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::{PartitionNo, Timestamp, limit};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::port::event::{EventMessage, EventPlace, Events};
use crate::port::queue::QueueError;

/// How long to wait before the stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// The events behind a place. Dropping it ends the reading.
pub(super) struct Source {
    /// All that were stored then or later come from here.
    pub(super) from: Timestamp,
    batches: mpsc::Receiver<Vec<EventMessage>>,
    _task: AbortOnDropHandle<()>,
}

impl Source {
    pub(super) fn open(events: Arc<dyn Events>, partition: PartitionNo, begin: EventPlace) -> Self {
        let (sender, batches) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut last = begin;
            loop {
                match read_on(events.as_ref(), &mut last, &sender).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%partition, %error, "cannot read the events; trying again"),
                }
                tokio::time::sleep(REOPEN_AFTER).await;
            }
        });
        // Of the moment of a message itself, those before it do not come.
        let from = if begin.seq == 0 { begin.at } else { Timestamp(begin.at.0.saturating_add(1)) };
        Self { from, batches, _task: AbortOnDropHandle::new(task) }
    }

    /// Some events; none when there will be none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Vec<EventMessage>> {
        self.batches.recv().await
    }
}

/// Reads from behind the last event on, until nobody wants any more.
async fn read_on(
    events: &dyn Events,
    last: &mut EventPlace,
    sender: &mpsc::Sender<Vec<EventMessage>>,
) -> Result<(), QueueError> {
    let mut reader = events.read(*last).await?;
    loop {
        let batch = reader.next(limit::EVENT_BATCH_MAX, limit::EVENT_BATCH_BYTES_MAX).await?;
        let Some(newest) = batch.last() else { continue };
        *last = newest.place();
        if sender.send(batch).await.is_err() {
            return Ok(());
        }
    }
}
