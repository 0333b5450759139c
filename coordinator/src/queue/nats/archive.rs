//! Definitions in `SM_DEFS`, dead letters in `SM_DEAD`.

use async_trait::async_trait;
use stepmill_nats::Nats;
use stepmill_protocol::{DeadLetter, codec};

use super::{error, unreadable};
use crate::port::queue::{Archive, QueueError};
use crate::port::store::StoredDefinition;

/// The archive that this connection reaches.
pub struct NatsArchive {
    nats: Nats,
}

impl NatsArchive {
    /// Over this connection; the streams must exist.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        Self { nats }
    }
}

#[async_trait]
impl Archive for NatsArchive {
    async fn keep_definition(&self, definition: &StoredDefinition) -> Result<(), QueueError> {
        let payload = codec::pack(definition).map_err(unreadable)?;
        let StoredDefinition { namespace, name, version, .. } = definition;
        self.nats.store_definition(namespace, name, version, payload).await.map(drop).map_err(error)
    }

    async fn definitions(&self) -> Result<Vec<StoredDefinition>, QueueError> {
        let all = self.nats.definitions().await.map_err(error)?;
        let mut read = Vec::with_capacity(all.len());
        for stored in all {
            match codec::unpack(&stored.payload) {
                Ok(definition) => read.push(definition),
                // One that nobody can read must not keep the others away.
                Err(error) => tracing::error!(workflow = %stored.workflow, %error, "a kept definition cannot be read"),
            }
        }
        Ok(read)
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        self.nats.bury(letter).await.map(drop).map_err(error)
    }
}
