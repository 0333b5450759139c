//! The port `Archive`: definitions and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use redb::ReadTransaction;
use serde::de::DeserializeOwned;
use stepmill_protocol::DeadLetter;

use crate::port::queue::{Archive, QueueError};
use crate::port::store::StoredDefinition;
use crate::store::embedded::{Core, MISC, Tables, Write, key, read_record, write_record};

/// Definitions and dead letters, in the embedded database.
pub(crate) struct EmbeddedArchive {
    core: Arc<Core>,
}

impl EmbeddedArchive {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Dead letters, oldest first.
    pub(crate) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.core.scan(move |read| all(read, "a dead letter", key::misc::DEAD, limit)).await?)
    }
}

#[async_trait]
impl Archive for EmbeddedArchive {
    async fn keep_definition(&self, definition: &StoredDefinition) -> Result<(), QueueError> {
        Ok(self.core.write(Keep(definition.clone())).await?)
    }

    async fn definitions(&self) -> Result<Vec<StoredDefinition>, QueueError> {
        let kept = self.core.scan(|read| all(read, "a definition", key::misc::KEPT, usize::MAX));
        let mut definitions: Vec<StoredDefinition> = kept.await?;
        definitions.sort_by_key(|definition| definition.registered_at);
        Ok(definitions)
    }

    async fn bury(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        Ok(self.core.write(Bury(letter.clone())).await?)
    }
}

fn all<T: DeserializeOwned>(
    read: &ReadTransaction,
    what: &str,
    letter: u8,
    limit: usize,
) -> Result<Vec<T>, redb::Error> {
    let table = read.open_table(MISC)?;
    let (first, end) = ([letter], [letter + 1]);
    let mut found = Vec::new();
    for row in table.range::<&[u8]>(first.as_slice()..end.as_slice())?.take(limit) {
        found.push(read_record(what, row?.1.value())?);
    }
    Ok(found)
}

struct Keep(StoredDefinition);

impl Write for Keep {
    type Out = ();

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let key = key::misc::kept(&self.0.namespace, &self.0.name, &self.0.version);
        tables.misc.insert(key.as_slice(), write_record("a definition", &self.0)?.as_slice())?;
        Ok(())
    }

    fn stored(self) {}
}

struct Bury(DeadLetter);

impl Write for Bury {
    type Out = ();

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let seq = tables.counters.next_dead();
        let row = write_record("a dead letter", &self.0)?;
        tables.misc.insert(key::misc::dead(seq).as_slice(), row.as_slice())?;
        Ok(())
    }

    fn stored(self) {}
}
