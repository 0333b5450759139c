//! The form of small records in the database: MessagePack with field names, so that fields can be added. An unreadable one is an error of the database,
//! like a page with a wrong checksum.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a record.
pub(crate) fn write<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, redb::Error> {
    rmp_serde::to_vec_named(value).map_err(|e| redb::Error::Corrupted(format!("{what} cannot be written: {e}")))
}

/// Reads a record.
pub(crate) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, redb::Error> {
    rmp_serde::from_slice(bytes).map_err(|e| redb::Error::Corrupted(format!("{what} cannot be read: {e}")))
}
