//! The definitions in `SM_DEFS`, the newest per namespace, name and version.

use bytes::Bytes;
use stepmill_protocol::{Namespace, Version, WorkflowName};

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::{Outgoing, Stored};
use crate::reader::{Read, Start, StreamReader};
use crate::subject;

/// Definitions read at a time.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A stored definition.
#[derive(Clone, Debug)]
pub struct StoredDefinition {
    /// Its tenant.
    pub namespace: Namespace,
    /// Its name.
    pub workflow: WorkflowName,
    /// Its version.
    pub version: Version,
    /// Its sequence in the stream: the order of registration.
    pub seq: u64,
    /// What was stored.
    pub payload: Bytes,
}

impl Nats {
    /// Stores a definition in place of an older one with the same name and version.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm it.
    pub async fn store_definition(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        version: &Version,
        payload: impl Into<Bytes>,
    ) -> Result<Stored, NatsError> {
        self.store(Outgoing::new(subject::definition(namespace, workflow, version), payload)).await
    }

    /// All definitions in the order of their registration. Messages on subjects that we would not make are left out.
    ///
    /// # Errors
    /// [`NatsError`] when the broker does not let us or the connection breaks meanwhile: begin again.
    pub async fn definitions(&self) -> Result<Vec<StoredDefinition>, NatsError> {
        let mut reader =
            StreamReader::open(self, subject::DEFS_STREAM, subject::DEFS_ALL, Start::LastPerSubject).await?;
        let mut all = Vec::new();
        while reader.pending() > 0 {
            all.extend(reader.next_batch(BATCH, BATCH_BYTES).await?.into_iter().filter_map(stored_definition));
        }
        all.sort_by_key(|d| d.seq);
        Ok(all)
    }
}

fn stored_definition(read: Read) -> Option<StoredDefinition> {
    let (namespace, workflow, version) = subject::parse_definition(&read.subject)?;
    Some(StoredDefinition { namespace, workflow, version, seq: read.seq, payload: read.payload })
}
