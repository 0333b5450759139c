//! The adapters behind [`crate::port::store::Store`].

pub mod embedded;
pub mod redis;
