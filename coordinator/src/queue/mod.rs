//! The adapters behind the ports of [`crate::port::queue`] and [`crate::port::bus`].

pub mod embedded;
pub mod nats;
