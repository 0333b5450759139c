//! `bench`, small: the shape of each answer, that nothing is left running, and that what goes wrong is said.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{json, stderr, stepmill};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// `stepmill bench …`, with its folders inside `dir`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = stepmill(dir, &[&["bench"], args].concat());
    command.env("TMPDIR", dir);
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    if local.exists() {
        command.env("STEPMILL_NATS_SERVER", local.canonicalize().unwrap());
    }
    command
}

/// Runs it to its end: one line, and nothing left in its folder.
fn bench(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), &[args, &["--json"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let left: Vec<PathBuf> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let line = json(&output);
    for key in [
        "workload",
        "adapters",
        "profile",
        "runs",
        "steps",
        "steps_per_s",
        "p50_ms",
        "p99_ms",
        "cpu_s_per_1000_steps",
        "peak_rss_mb",
        "versions",
        "settings",
        "roles",
        "meaning",
    ] {
        assert!(line.get(key).is_some(), "{key} in {line}");
    }
    assert_eq!(line["workload"]["name"], args[0]);
    line
}

fn positive(line: &Value, keys: &[&str]) {
    for key in keys {
        assert!(line.pointer(&format!("/{key}")).and_then(Value::as_f64).unwrap() > 0.0, "{key} in {line}");
    }
}

/// Figures of a workload with steps and times.
const STEPS: [&str; 5] = ["steps_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000_steps", "peak_rss_mb"];

fn check(report: &Value) {
    positive(report, &STEPS);
    assert!(report["p50_ms"].as_f64() <= report["p99_ms"].as_f64(), "{report}");
    assert_eq!((&report["runs"], &report["steps"]), (&20.into(), &3.into()));
}

#[test]
fn embedded() {
    let report = bench(&["chain", "--runs", "20", "--steps", "3", "--embedded"]);
    check(&report);
    assert_eq!(report["adapters"], "embedded");
}

#[test]
fn servers() {
    let report = bench(&["chain", "--runs", "20", "--steps", "3", "--workers", "2"]);
    check(&report);
    assert_eq!(report["adapters"], "nats+redis");
    assert_eq!(report["roles"]["worker"]["processes"], 2);
    assert!(report["versions"]["servers"]["nats_server"].is_string(), "{report}");
}

/// A worker that asks for tasks too late costs seconds here.
#[test]
fn more_runs_than_slots_do_not_stall() {
    let size = ["--runs", "100", "--steps", "10", "--in-flight", "100", "--slots", "32", "--workers", "1"];
    let report = bench(&[&["chain"][..], &size].concat());
    assert!(report["wall_s"].as_f64().unwrap() < 10.0, "{report}");
}

/// What a loop holds in Redis does not grow with what is behind it.
#[test]
fn loops() {
    let line = bench(&["loops", "--iterations", "100000", "--items", "2000"]);
    for part in ["/iterations", "/items"] {
        let figure = |place: &str| line.pointer(&format!("{part}{place}")).unwrap().as_f64().unwrap();
        assert!(figure("/late/redis_mb") < figure("/early/redis_mb") + 0.5, "{line}");
        assert!(figure("/early/per_s") > 0.0 && figure("/late_against_early") > 0.0, "{line}");
    }
}

#[test]
fn latency() {
    let line = bench(&["latency", "--runs", "5", "--steps", "2", "--profile", "always"]);
    positive(&line, &STEPS[..3]);
    assert_eq!((&line["profile"], &line["workload"]["in_flight"]), (&"always".into(), &1.into()));
}

#[test]
fn fanout_and_fibonacci() {
    let line = bench(&["fanout", "--width", "50", "--runs", "2", "--embedded"]);
    positive(&line, &STEPS[..3]);
    assert_eq!(line["steps"], 50);
    let line = bench(&["fibonacci", "--steps", "4", "--runs", "3", "--embedded"]);
    positive(&line, &STEPS[..3]);
}

#[test]
fn payload() {
    let line = bench(&["payload", "--runs", "2", "--batch", "5", "--steps", "2", "--bytes", "50000"]);
    positive(&line, &["mb_per_s", "p50_ms", "steps_per_s"]);
    let rate = line["steps_per_s"].as_f64().unwrap() * 0.05;
    assert!((line["mb_per_s"].as_f64().unwrap() / rate - 1.0).abs() < 0.01, "{line}");
}

#[test]
fn submit() {
    let line = bench(&["submit", "--runs", "100", "--in-flight", "20"]);
    positive(&line, &["submissions_per_s", "cpu_s_per_1000_runs", "p50_ms"]);
    assert_eq!(line["steps_per_s"], Value::Null);
}

#[test]
fn waiting() {
    let line = bench(&["waiting", "--runs", "300", "--steps", "3", "--done", "1", "--wait", "task"]);
    positive(&line, &["coordinator_mb", "redis_bytes_per_run"]);
    assert_eq!((&line["workload"]["steps_done"], &line["workload"]["wait"]), (&1.into(), &"task".into()));
}

#[test]
fn floors() {
    for (name, workers) in [("floor", 2), ("floor-bare", 1)] {
        let line = bench(&[name, "--runs", "20", "--steps", "3", "--in-flight", "10"]);
        positive(&line, &["steps_per_s", "p50_ms", "p99_ms", "mb_per_s"]);
        assert_eq!(line["roles"]["coordinator"]["processes"], 1, "a process of its own: {line}");
        assert_eq!(line["roles"]["worker"]["processes"], workers, "{line}");
    }
}

#[test]
fn kills() {
    let line = bench(&["kill", "--runs", "10", "--steps", "2", "--ms", "20", "--rounds", "1"]);
    positive(&line, &["undisturbed_s", "coordinator_beyond_s/median"]);
    // The worker may have had nothing to do: then nothing is lost.
    assert!(line["worker_beyond_s"]["median"].is_number(), "{line}");
}

#[test]
fn scale() {
    let size = ["--workers", "1,2", "--slots", "4", "--ms", "10", "--steps", "2", "--seconds", "1"];
    let line = bench(&[&["scale"][..], &size].concat());
    assert_eq!(line["owned"], serde_json::json!([4, 4]));
    assert_eq!(line["sizes"][1]["workers"], 2);
    positive(&line, &["sizes/0/steps_per_s", "sizes/1/efficiency"]);
}

#[test]
fn depth() {
    let line = bench(&["depth", "--stored", "20,60", "--runs", "10", "--long", "100"]);
    assert_eq!((&line["stored"][0]["runs_stored"], &line["stored"][1]["runs_stored"]), (&20.into(), &60.into()));
    positive(&line, &["stored/1/against_first", "long/early_steps_per_s", "long/late_against_early"]);
}

#[test]
fn start() {
    let line = bench(&["start", "--rounds", "1"]);
    positive(&line, &["p50_ms"]);
    assert_eq!(line["adapters"], "nats+redis");
}

#[test]
fn a_report_is_a_page_with_every_figure_and_command() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["report", "--quick", "--only", "fanout,start", "--out", "pages/page.md", "--json"];
    let output = command(dir.path(), &args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = json(&output);
    assert_eq!(line["rows"].as_array().unwrap().len(), 2, "{line}");
    positive(&line, &["rows/0/value/median", "rows/0/floor/median", "rows/0/ratio/median", "rows/1/value/median"]);
    let page = std::fs::read_to_string(dir.path().join("pages/page.md")).unwrap();
    assert!(page.contains("stepmill bench fanout --width 1000 --runs 3 --json"), "{page}");
    assert!(page.contains("| 1,000 parallel steps and a join | whole run, p50 |"), "{page}");

    let output = command(dir.path(), &["report", "--only", "speed"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the workloads are floor-bare, chain"), "{}", stderr(&output));
}

/// A bench that would go on for long, from the moment at which it measures.
struct Endless {
    dir: tempfile::TempDir,
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Endless {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(dir.path(), &["chain", "--runs", "10000000", "--steps", "1", "--in-flight", "50"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("measuring"), "{line}");
        Self { dir, child, said }
    }

    /// The processes that it has started: ids and command lines.
    fn children(&self) -> Vec<(Pid, String)> {
        let mut found = Vec::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            let ids = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
            for id in ids.split_whitespace() {
                let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap();
                found.push((Pid::from_raw(id.parse().unwrap()), String::from_utf8(line).unwrap().replace('\0', " ")));
            }
        }
        found
    }

    /// Waits for its end: the exit code, and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                None => panic!("bench does not end"),
            }
        };
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        let left: Vec<PathBuf> = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
        (status.code(), said)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_stops_everything() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let bench = Endless::start();
        let children = bench.children();
        assert_eq!(children.len(), 5, "servers, a coordinator, two workers: {children:?}");
        kill(Pid::from_raw(i32::try_from(bench.child.id()).unwrap()), signal).unwrap();
        assert_eq!(bench.end().0, Some(130));
        for (pid, line) in children {
            // One that has ended and was not waited for has no executable any more.
            assert!(std::fs::read_link(format!("/proc/{pid}/exe")).is_err(), "{line} still runs");
        }
    }
}

/// Processes that were started for something in this folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|e| e.path());
    let lines = all.filter_map(|process| {
        let line = String::from_utf8(std::fs::read(process.join("cmdline")).ok()?).ok()?;
        let inside = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        // One that is about to be gone has no arguments any more.
        (!line.is_empty() && (inside || line.contains(dir.to_str()?))).then_some(line)
    });
    lines.collect()
}

#[test]
fn a_signal_stops_what_a_report_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path(), &["report", "--quick", "--only", "chain"]);
    let mut report = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    // The servers' settings are under the folder, so they are found by their arguments.
    while !processes_of(dir.path()).iter().any(|line| line.contains("nats-server")) {
        assert!(Instant::now() < until, "nothing was started");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(i32::try_from(report.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(report.wait().unwrap().code(), Some(130));
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_process_that_ends_is_named_with_the_end_of_its_log() {
    for (role, expected) in [("worker", "a worker ended: signal: 9"), ("redis-server", "eady to accept connections")] {
        let bench = Endless::start();
        let victim = bench.children().into_iter().find(|(_, line)| line.contains(role)).unwrap().0;
        kill(victim, Signal::SIGKILL).unwrap();
        let (code, said) = bench.end();
        assert_eq!(code, Some(1));
        assert!(said.contains(expected), "{said}");
    }
}
