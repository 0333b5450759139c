//! The owner of one partition. It reads the partition's log in order, folds each batch with the engine, commits it, and only then
//! publishes tasks and answers whoever waits. One task per partition; nothing else touches a partition's runs.
//!
//! | file | owns |
//! | --- | --- |
//! | `owner` | the owner's state and its loop |
//! | `recover` | where to begin: cursor, rebuild, new log incarnation |
//! | `fold` | a batch: load, advance, commit |
//! | `work` | what one batch changes |
//! | `settle` | what happens after the commit |
//! | `outbox` | open dispatches and the window of published ones |
//! | `relay` | publishing |
//! | `hold` | tasks that are held back |
//! | `act` | what runs ask of the system itself |
//! | `tell` | life-cycle events |
//! | `timers` | armed timers |
//! | `listen` | events for runs that listen |
//! | `sweep` | dispatches whose message is gone |
//! | `ask` | questions of workers and waiting readers |
//! | `poison` | events that cannot be folded |
//! | `snapshot` | copies of live runs into the log |

mod act;
mod ask;
mod cache;
mod fold;
mod hold;
mod listen;
mod outbox;
mod owner;
mod poison;
mod recover;
mod relay;
mod settle;
mod snapshot;
mod sweep;
mod tell;
mod timers;
mod work;

use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::PartitionNo;
use tokio_util::sync::CancellationToken;

use crate::port::queue::QueueError;
use crate::port::store::{Lease, StoreError};
use crate::shared::Shared;

use ask::Front;
pub(crate) use fold::{admissible, decode};
pub(crate) use recover::is_rebuilding;

/// Why an owner stopped working.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("a plan cannot be had: {0}")]
    Plan(#[from] crate::plans::PlanError),
    #[error("the event at {seq} cannot be folded: {reason}")]
    Poison { seq: u64, reason: String },
    #[error("a state cannot be written: {0}")]
    Codec(#[from] stepmill_protocol::codec::CodecError),
}

/// How long to wait before the next try after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Owns a partition until `stop`: works, and after each failure begins again from what is committed. The lease's keeper stops
/// it when the lease is lost; until then the store refuses whatever a stale owner tries.
pub(crate) async fn own(shared: Arc<Shared>, partition: PartitionNo, lease: Lease, stop: CancellationToken) {
    let _left = Left(&shared, partition);
    let mut poison = poison::Known::default();
    let (front, mut requests) = Front::new(partition);
    let served = loop {
        tokio::select! {
            () = stop.cancelled() => return,
            served = shared.ports.bus.serve_owner(partition, Arc::new(front.clone())) => match served {
                Ok(guard) => break guard,
                Err(e) => tracing::warn!(%partition, error = %e, "cannot serve questions to the owner"),
            },
        }
        if pause(&stop).await {
            return;
        }
    };
    let mut first = true;
    loop {
        // How long the recovery takes nobody knows; from then on the owner shows that it turns.
        shared.vitals.rests(partition);
        let mut owner = owner::Owner::new(shared.clone(), partition, lease.clone());
        let recovered = tokio::select! {
            () = stop.cancelled() => break,
            recovered = owner.recover(&mut poison, first) => recovered,
        };
        let failed = match recovered {
            Ok(mut reader) => {
                first = false;
                owner.serve(reader.as_mut(), &mut requests, &mut poison, &stop).await.err()
            }
            Err(e) => Some(e),
        };
        let Some(error) = failed else { break };
        if stop.is_cancelled() {
            break;
        }
        if let OwnerError::Poison { seq, reason } = &error {
            poison.remember(*seq, reason.clone());
        } else {
            tracing::warn!(%partition, %error, "begin again from what is committed");
            if pause(&stop).await {
                break;
            }
        }
    }
    drop(served);
    // A clean stop is no reason to be suspicious of the next batch.
    if let Err(error) = shared.ports.store.note_suspicion(partition, &lease, None).await {
        tracing::debug!(%partition, %error, "cannot clear the note on the last batch");
    }
}

/// Has those who watch forget a partition, also when its owner is ended from outside.
struct Left<'a>(&'a Shared, PartitionNo);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.vitals.rests(self.1);
        self.0.measures.forget(self.1);
    }
}

/// Waits a moment; true when it is time to stop.
async fn pause(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(RETRY_AFTER) => false,
    }
}
