//! What the log's subjects cost nats-server: one for each run against one for each partition.

#![allow(clippy::print_stdout, reason = "a measurement says what it measured")]

use std::time::Instant;

use stepmill_nats::subject::{LOG_STREAM, LogSubject, LogWriter};
use stepmill_nats::{Log, Outgoing};

use crate::support::{Fixture, fixture, pool, run};

const PARTITIONS: u16 = 8;
/// What each run appends: a submission and two reports.
const RECORDS: usize = 3;
const BYTES: usize = 500;
/// Appended in one go.
const BURST: usize = 1_000;

/// Subjects as the product has them.
fn of_the_run(run_no: usize, record: usize) -> String {
    let id = run(run_no as u128);
    let writer = if record == 0 { LogWriter::Coordinator } else { LogWriter::Worker(pool()) };
    LogSubject { partition: id.partition(PARTITIONS), run: id, writer }.render()
}

/// The same without the run.
fn of_the_partition(run_no: usize, record: usize) -> String {
    let partition = run(run_no as u128).partition(PARTITIONS);
    if record == 0 { format!("sm.log.{partition}.c") } else { format!("sm.log.{partition}.w.{}", pool()) }
}

/// Resident memory in MiB, and seconds of CPU so far.
fn used(f: &Fixture) -> (f64, f64) {
    let pid = f.server.pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap().split_whitespace().next().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|t| t.parse::<f64>().unwrap()).sum();
    (kib.parse::<f64>().unwrap() / 1024.0, ticks / 100.0)
}

async fn append(f: &Fixture, from: usize, to: usize, record: usize, subject: fn(usize, usize) -> String) {
    let message = |n| Outgoing::new(subject(n, record), vec![b'x'; BYTES]);
    for stored in f.nats.store_all((from..to).map(message).collect()).await {
        stored.unwrap();
    }
}

async fn measure(name: &str, runs: usize, subject: fn(usize, usize) -> String) {
    let mut f = fixture().await;
    let (idle, _) = used(&f);
    let begun = Instant::now();
    // Round by round, so that every run is live at the same time.
    for record in 0..RECORDS {
        for from in (0..runs).step_by(BURST) {
            append(&f, from, runs.min(from + BURST), record, subject).await;
        }
    }
    let (wall, (full, cpu)) = (begun.elapsed().as_secs_f64(), used(&f));
    let messages = (runs * RECORDS) as f64;
    println!(
        "{name}: {runs} runs, {messages} records: {:.0} records/s, {:.1} µs of CPU each; resident {idle:.0} MiB before, {full:.0} MiB after",
        messages / wall,
        cpu * 1e6 / messages
    );
    let begun = Instant::now();
    f.server.restart().unwrap();
    let log = Log::new(crate::support::connect(&f.server).await);
    let state = log.state().await.unwrap();
    assert_eq!(state.messages, messages as u64, "{LOG_STREAM}");
    let (resident, _) = used(&f);
    println!("{name}: up again after {:.1} s with {resident:.0} MiB", begun.elapsed().as_secs_f64());
}

#[tokio::test]
#[ignore = "a measurement: cargo test --release -p stepmill-tests --test nats -- --ignored --nocapture subjects"]
async fn memory_of_a_million_runs() {
    let runs = std::env::var("STEPMILL_RUNS").map_or(1_000_000, |n| n.parse().unwrap());
    measure("a subject for each run", runs, of_the_run).await;
    measure("a subject for each partition", runs, of_the_partition).await;
}
