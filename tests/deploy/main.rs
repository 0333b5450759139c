//! What is given to those who run it: the servers' configurations, the chart, the containers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it skips")]

mod chart;
mod containers;
mod servers;
