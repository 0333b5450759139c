//! Events that cannot be folded: they panicked, or their owner died over them twice. They go to the dead letters, their run is
//! parked, and the partition goes on.

use std::collections::BTreeMap;

use stepmill_protocol::{PartitionNo, limit};

use crate::port::store::{Lease, Store, StoreError, Suspicion};

/// Positions of the log that are known to be poison, with the reason.
#[derive(Default)]
pub(crate) struct Known(BTreeMap<u64, String>);

impl Known {
    pub(super) fn remember(&mut self, seq: u64, reason: String) {
        tracing::error!(seq, reason, "an event cannot be folded; it goes to the dead letters and its run is parked");
        self.0.insert(seq, reason);
    }

    pub(super) fn reason(&self, seq: u64) -> Option<&str> {
        self.0.get(&seq).map(String::as_str)
    }

    pub(super) fn forget_up_to(&mut self, seq: u64) {
        self.0.retain(|s, _| *s > seq);
    }
}

/// How the first batches after a takeover are folded.
pub(super) enum Caution {
    /// As usual.
    None,
    /// As usual, until this position is behind; then the note is removed.
    Watchful,
    /// One event at a time, each noted before. `last`: the one an owner died over, and how often.
    Single { last: Option<(u64, u32)> },
}

/// Reads what the owner before has noted and notes this try. An event that killed a lone fold is remembered as poison.
pub(super) async fn look_back(
    store: &dyn Store,
    partition: PartitionNo,
    lease: &Lease,
    cursor: u64,
    known: &mut Known,
) -> Result<Caution, StoreError> {
    let before = store.suspicion(partition).await?.filter(|s| s.cursor == cursor);
    let (caution, note) = match before {
        Some(Suspicion { single: Some(seq), tries, .. }) => {
            if tries >= limit::FOLD_TRIES_MAX {
                known.remember(seq, format!("{tries} coordinators that folded it died over it"));
            }
            (Caution::Single { last: Some((seq, tries)) }, Suspicion { cursor, tries, single: Some(seq) })
        }
        Some(Suspicion { single: None, tries, .. }) => {
            let tries = tries + 1;
            let caution =
                if tries >= limit::FOLD_TRIES_MAX { Caution::Single { last: None } } else { Caution::Watchful };
            (caution, Suspicion { cursor, tries, single: None })
        }
        None => (Caution::Watchful, Suspicion { cursor, tries: 1, single: None }),
    };
    store.note_suspicion(partition, lease, Some(&note)).await?;
    Ok(caution)
}
