//! `stepmill-nats` against a real nats-server.

mod connect;
mod log;
mod support;
