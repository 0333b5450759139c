//! `stepmill-nats` against a real nats-server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should fail")]

mod api;
mod connect;
mod log;
mod permission;
mod subjects;
mod support;
mod work;
