//! The port `Store`: each verb handed to the part that does it.

use std::sync::Arc;

use async_trait::async_trait;
use redb::ReadableTable;
use stepmill_protocol::{Digest, Namespace, PartitionNo, RunId, TimerId, Timestamp, ValueId, Version, WorkflowName};

use super::commit::{Clear, CommitWrite, Note, Trim};
use super::definition::{self, Define};
use super::lease::{Acquire, Leases, Release};
use super::{Core, Tables, Write, key, read, read_record, write_record};
use crate::port::store::{
    Commit, Cursor, Lease, ListQuery, OutboxEntry, Store, StoreError, StoredDefinition, StoredRun, Suspicion, ToldKey,
};

/// The state of runs, in the embedded database.
pub(crate) struct EmbeddedStore {
    core: Arc<Core>,
    leases: Arc<Leases>,
}

impl EmbeddedStore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, leases: Arc::default() }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn partitions(&self, wanted: u16) -> Result<u16, StoreError> {
        Ok(self.core.write(Partitions(wanted)).await?)
    }

    async fn beat(&self, owner: &str, ttl_ms: u64) -> Result<Vec<String>, StoreError> {
        Ok(self.leases.beat(owner, ttl_ms))
    }

    async fn leave(&self, owner: &str) -> Result<(), StoreError> {
        self.leases.leave(owner);
        Ok(())
    }

    async fn acquire(
        &self,
        partition: PartitionNo,
        owner: &str,
        ttl_ms: u64,
        epoch_min: u64,
    ) -> Result<Option<Lease>, StoreError> {
        let (leases, owner) = (Arc::clone(&self.leases), owner.to_owned());
        Ok(self.core.write(Acquire { leases, partition, owner, ttl_ms, epoch_min, taken: None }).await?)
    }

    async fn renew(&self, leases: &[(PartitionNo, Lease)], ttl_ms: u64) -> Result<Vec<bool>, StoreError> {
        Ok(leases.iter().map(|(partition, lease)| self.leases.renew(*partition, lease, ttl_ms)).collect())
    }

    async fn release(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError> {
        Ok(self.core.write(Release { leases: Arc::clone(&self.leases), partition, lease: lease.clone() }).await?)
    }

    async fn cursor(&self, partition: PartitionNo) -> Result<Option<Cursor>, StoreError> {
        Ok(self.core.peek(|r| read::cursor(r, partition)).await?)
    }

    async fn suspicion(&self, partition: PartitionNo) -> Result<Option<Suspicion>, StoreError> {
        Ok(self.core.peek(|r| read::suspicion(r, partition)).await?)
    }

    async fn note_suspicion(
        &self,
        partition: PartitionNo,
        lease: &Lease,
        note: Option<&Suspicion>,
    ) -> Result<(), StoreError> {
        self.core.write(Note { partition, lease: lease.clone(), note: note.cloned(), verdict: Ok(()) }).await?
    }

    async fn load(&self, partition: PartitionNo, runs: &[RunId]) -> Result<Vec<Option<StoredRun>>, StoreError> {
        Ok(self.core.peek(|r| read::runs(r, partition, runs)).await?)
    }

    async fn load_value(
        &self,
        partition: PartitionNo,
        run: RunId,
        value: ValueId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.core.peek(|r| read::value(r, partition, run, value)).await?)
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.core.write(CommitWrite::new(commit)).await?
    }

    async fn outbox(&self, partition: PartitionNo) -> Result<Vec<OutboxEntry>, StoreError> {
        Ok(self.core.scan(move |r| read::outbox(r, partition)).await?)
    }

    async fn timers(&self, partition: PartitionNo) -> Result<Vec<(RunId, TimerId, Timestamp)>, StoreError> {
        Ok(self.core.scan(move |r| read::timers(r, partition)).await?)
    }

    async fn told(&self, partition: PartitionNo) -> Result<Vec<(ToldKey, Vec<u8>)>, StoreError> {
        Ok(self.core.scan(move |r| read::told(r, partition)).await?)
    }

    async fn live_runs(
        &self,
        partition: PartitionNo,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        Ok(self.core.scan(move |r| read::live_runs(r, partition, after, limit)).await?)
    }

    async fn list(&self, partition: PartitionNo, query: &ListQuery) -> Result<Vec<(Timestamp, RunId)>, StoreError> {
        let query = query.clone();
        Ok(self.core.scan(move |r| read::list(r, partition, &query)).await?)
    }

    async fn trim_indexes(&self, partition: PartitionNo, limit: usize) -> Result<usize, StoreError> {
        Ok(self.core.write(Trim { partition, limit, gone: 0 }).await?)
    }

    async fn clear(&self, partition: PartitionNo, lease: &Lease) -> Result<(), StoreError> {
        self.core.write(Clear { partition, lease: lease.clone(), verdict: Ok(()) }).await?
    }

    async fn put_definition(&self, definition: &StoredDefinition) -> Result<(StoredDefinition, bool), StoreError> {
        Ok(self.core.write(Define { definition: definition.clone(), is_new: false }).await?)
    }

    async fn definition(&self, digest: &Digest) -> Result<Option<StoredDefinition>, StoreError> {
        Ok(self.core.peek(|r| definition::by_digest(r, digest)).await?)
    }

    async fn find_digest(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<Digest>, StoreError> {
        Ok(self.find_definition(namespace, name, version).await?.map(|found| found.digest))
    }

    async fn find_definition(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
        version: Option<&Version>,
    ) -> Result<Option<StoredDefinition>, StoreError> {
        Ok(self.core.peek(|r| definition::by_name(r, namespace, name, version)).await?)
    }
}

/// The number of partitions, chosen once.
struct Partitions(u16);

impl Write for Partitions {
    type Out = u16;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let known = tables.misc.get(key::misc::PARTITIONS)?.map(|row| row.value().to_vec());
        match known {
            Some(known) => self.0 = read_record("the number of partitions", &known)?,
            None => {
                let row = write_record("the number of partitions", &self.0)?;
                tables.misc.insert(key::misc::PARTITIONS, row.as_slice())?;
            }
        }
        Ok(())
    }

    fn stored(self) -> u16 {
        self.0
    }
}
