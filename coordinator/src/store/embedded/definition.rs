//! Definitions, by digest and by name.

use redb::{ReadTransaction, ReadableTable};
use stepmill_protocol::{Digest, Namespace, Timestamp, Version, WorkflowName};

use super::key::misc;
use super::table;
use super::{Tables, Write, read_record, write_record};
use crate::port::store::StoredDefinition;

/// Stores a definition.
pub(crate) struct Define {
    pub(crate) definition: StoredDefinition,
    pub(crate) is_new: bool,
}

impl Write for Define {
    type Out = (StoredDefinition, bool);

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let given = &self.definition;
        let by_version = misc::version(&given.namespace, &given.name, &given.version);
        let known = tables.misc.get(by_version.as_slice())?.map(|row| row.value().to_vec());
        if let Some(known) = known {
            self.definition = read_record("a definition", &known)?;
            return Ok(());
        }
        let row = write_record("a definition", given)?;
        tables.misc.insert(by_version.as_slice(), row.as_slice())?;
        tables.misc.insert(misc::definition(&given.digest).as_slice(), row.as_slice())?;
        let newest = misc::newest(&given.namespace, &given.name);
        let before = tables.misc.get(newest.as_slice())?.map(|row| row.value().to_vec());
        let before: Option<(Timestamp, Version)> = before.map(|b| read_record("a version", &b)).transpose()?;
        if before.is_none_or(|(at, _)| at <= given.registered_at) {
            let row = write_record("a version", &(given.registered_at, &given.version))?;
            tables.misc.insert(newest.as_slice(), row.as_slice())?;
        }
        self.is_new = true;
        Ok(())
    }

    fn stored(self) -> (StoredDefinition, bool) {
        (self.definition, self.is_new)
    }
}

/// A definition by its address.
pub(crate) fn by_digest(read: &ReadTransaction, digest: &Digest) -> Result<Option<StoredDefinition>, redb::Error> {
    let row = table::read_misc(read)?.get(misc::definition(digest).as_slice())?;
    row.map(|row| read_record("a definition", row.value())).transpose()
}

/// A definition by name: that version, or the one registered last.
pub(crate) fn by_name(
    read: &ReadTransaction,
    namespace: &Namespace,
    name: &WorkflowName,
    version: Option<&Version>,
) -> Result<Option<StoredDefinition>, redb::Error> {
    let misc = table::read_misc(read)?;
    let newest: Option<(Timestamp, Version)> = match version {
        Some(_) => None,
        None => {
            let row = misc.get(misc::newest(namespace, name).as_slice())?;
            row.map(|row| read_record("a version", row.value())).transpose()?
        }
    };
    let Some(version) = version.or(newest.as_ref().map(|(_, version)| version)) else { return Ok(None) };
    let row = misc.get(misc::version(namespace, name, version).as_slice())?;
    row.map(|row| read_record("a definition", row.value())).transpose()
}
