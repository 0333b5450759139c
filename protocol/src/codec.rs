//! The two encodings: MessagePack between our own processes, JSON for people and foreign clients.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that could not be read or a value that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be {act} as {format}: {reason}")]
pub struct CodecError {
    /// The type's name, without where it is defined.
    pub what: &'static str,
    /// `read` or `written`.
    pub act: &'static str,
    /// `MessagePack` or `JSON`.
    pub format: &'static str,
    /// The reason in the codec's words.
    pub reason: String,
}

/// How a message's bytes are to be read; NATS header `Content-Type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`; also taken where nothing is said.
    #[default]
    Json,
    /// `application/msgpack`.
    MsgPack,
}

impl ContentType {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MsgPack => "application/msgpack",
        }
    }

    /// From the header's value; everything that does not say MessagePack is JSON.
    #[must_use]
    pub fn from_header(value: Option<&str>) -> Self {
        match value {
            Some(v) if v.contains("msgpack") => Self::MsgPack,
            _ => Self::Json,
        }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// [`CodecError`] when the value has no form in this encoding.
    pub fn write<T: Serialize>(self, value: &T) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(|e| err::<T>("written", "JSON", &e)),
            Self::MsgPack => pack(value),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not a `T` in this encoding.
    pub fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|e| err::<T>("read", "JSON", &e)),
            Self::MsgPack => unpack(bytes),
        }
    }
}

/// MessagePack with field names, so that fields can be added.
///
/// # Errors
/// [`CodecError`] when the value has no MessagePack form.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    rmp_serde::to_vec_named(value).map_err(|e| err::<T>("written", "MessagePack", &e))
}

/// Reads what [`pack`] wrote.
///
/// # Errors
/// [`CodecError`] when the bytes are not a `T`.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(bytes).map_err(|e| err::<T>("read", "MessagePack", &e))
}

fn err<T>(act: &'static str, format: &'static str, reason: &dyn std::fmt::Display) -> CodecError {
    let full = std::any::type_name::<T>();
    let what = full.split('<').next().and_then(|name| name.rsplit("::").next()).unwrap_or(full);
    CodecError { what, act, format, reason: reason.to_string() }
}
