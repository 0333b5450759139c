//! Real servers, real processes, and a client that knows only NATS and JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test; figures are shown"
)]

mod api;
mod drain;
mod listen;
mod loops;
mod ticket;
