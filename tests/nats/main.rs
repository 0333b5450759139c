//! `stepmill-nats` against a real nats-server.

mod api;
mod connect;
mod log;
mod permission;
mod support;
mod work;
