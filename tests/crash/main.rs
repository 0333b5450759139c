//! Everything is killed at random moments while runs are under way; afterwards every accepted run must have ended right, and no
//! step whose report was stored may have run again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed expectation is a failed test; figures are shown"
)]

mod check;
mod children;
mod compensation;
mod constructs;
mod embedded;
mod life;
mod listen;
mod load;
mod rounds;
mod schedule;
mod takeover;
