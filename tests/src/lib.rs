//! The harness of the tests that need more than one package: real servers as child processes.

pub mod client;
pub mod cluster;
pub mod conformance;
pub mod server;
