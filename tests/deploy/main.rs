//! What is given to those who run it: the servers' configurations, the chart, the containers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chart;
mod containers;
mod servers;
