//! `bench chain`, small: the shape of its answer and that nothing is left running.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{json, stderr, stepmill};

fn bench(args: &[&str]) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let mut command = stepmill(dir.path(), &[&["bench", "chain", "--json"], args].concat());
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    if local.exists() {
        command.env("STEPMILL_NATS_SERVER", local);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    json(&output)
}

fn check(report: &serde_json::Value) {
    for key in ["steps_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000_steps", "peak_rss_mb"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key} in {report}");
    }
    assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64(), "{report}");
    assert_eq!((&report["runs"], &report["steps"]), (&20.into(), &3.into()));
}

#[test]
fn embedded() {
    let report = bench(&["--runs", "20", "--steps", "3", "--embedded"]);
    check(&report);
    assert_eq!(report["adapters"], "embedded");
}

#[test]
fn servers() {
    let report = bench(&["--runs", "20", "--steps", "3", "--workers", "2"]);
    check(&report);
    assert_eq!(report["adapters"], "nats+redis");
    assert_eq!(report["roles"]["worker"]["processes"], 2);
    assert!(report["versions"]["servers"]["nats_server"].is_string(), "{report}");
}

/// A worker that asks for tasks too late costs seconds here.
#[test]
fn more_runs_than_slots_do_not_stall() {
    let size = ["--runs", "100", "--steps", "10", "--in-flight", "100", "--slots", "32", "--workers", "1"];
    let report = bench(&size);
    assert!(report["wall_s"].as_f64().unwrap() < 10.0, "{report}");
}
