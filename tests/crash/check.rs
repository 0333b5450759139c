//! Compares the file that the steps wrote with the log and with what the runs gave.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use stepmill_nats::{Log, Nats, Start};
use stepmill_protocol::{Event, LogRecord, PartitionNo, ReportOutcome, codec};

use crate::load::STEPS;

/// A line of the file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Trace {
    pub(crate) key: String,
    pub(crate) pass: u32,
    pub(crate) value: String,
    pub(crate) at_ms: u64,
}

/// The first stored success of a step: when, and its value.
#[derive(Clone, Debug)]
pub(crate) struct StoredReport {
    at_ms: u64,
    value: Value,
}

/// Reads the file.
pub(crate) fn traces(file: &Path) -> Vec<Trace> {
    let text = std::fs::read_to_string(file).expect("the side file");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Reads the whole log: the first success stored for each key and pass.
pub(crate) async fn stored_reports(nats: &Nats, partitions: u16) -> BTreeMap<(String, u32), StoredReport> {
    let log = Log::new(nats.clone());
    let mut stored = BTreeMap::new();
    for partition in (0..partitions).map(PartitionNo) {
        let mut reader = log.reader(partition, Start::Seq(1)).await.expect("a reader");
        while reader.pending() > 0 {
            for message in reader.next_batch(1_000, 4 << 20).await.expect("a batch") {
                let Ok(record) = codec::unpack::<LogRecord>(&message.payload) else { continue };
                let Event::Report(report) = record.event else { continue };
                let ReportOutcome::Succeeded { output } = report.outcome else { continue };
                let key = (report.id.idempotency_key(&report.path), report.id.pass.0);
                stored.entry(key).or_insert(StoredReport { at_ms: message.time.0, value: output });
            }
        }
    }
    stored
}

/// Every run completed with ten values, each of which a step of that run has made.
pub(crate) fn all_right(results: &[(String, Value)], traces: &[Trace]) {
    let made: HashMap<&str, &str> = traces.iter().map(|t| (t.value.as_str(), t.key.as_str())).collect();
    for (run, view) in results {
        assert_eq!(view["state"], "completed", "run {run}: {view}");
        let values = view["output"].as_array().unwrap_or_else(|| panic!("run {run} gave no array: {view}"));
        assert_eq!(values.len(), STEPS, "run {run}: {view}");
        for (n, value) in values.iter().enumerate() {
            let key = value.as_str().and_then(|v| made.get(v)).unwrap_or_else(|| panic!("{value} was made by nobody"));
            let expected = format!("{run}:/do/{n}/s{n}:");
            assert!(key.starts_with(&expected), "{value} at {n} of run {run} was made under {key}");
        }
    }
}

/// What each run gave is what its stored reports say.
pub(crate) fn as_reported(results: &[(String, Value)], stored: &BTreeMap<(String, u32), StoredReport>) {
    let mut by_step: HashMap<String, Vec<&Value>> = HashMap::new();
    for ((key, _), report) in stored {
        let step = key.rsplit_once(':').map_or(key.as_str(), |(step, _)| step);
        by_step.entry(step.to_owned()).or_default().push(&report.value);
    }
    for (run, view) in results {
        for (n, value) in view["output"].as_array().into_iter().flatten().enumerate() {
            let step = format!("{run}:/do/{n}/s{n}");
            let reported = by_step.get(&step);
            assert_eq!(reported.map(Vec::as_slice), Some(&[value][..]), "step {step}: log against output");
        }
    }
}

/// No step began again after its success was stored.
pub(crate) fn none_again(traces: &[Trace], stored: &BTreeMap<(String, u32), StoredReport>) -> usize {
    let mut repeated = 0;
    let mut seen = HashMap::<(&str, u32), usize>::new();
    for trace in traces {
        *seen.entry((&trace.key, trace.pass)).or_default() += 1;
        if let Some(report) = stored.get(&(trace.key.clone(), trace.pass)) {
            assert!(
                trace.at_ms <= report.at_ms,
                "{} pass {} began at {} though its report was stored at {}",
                trace.key,
                trace.pass,
                trace.at_ms,
                report.at_ms
            );
        }
    }
    for count in seen.values() {
        repeated += count - 1;
    }
    repeated
}

/// Takes the successes out of a page of a run's history.
pub(crate) fn take_history(run: &str, entries: &[Value], stored: &mut BTreeMap<(String, u32), StoredReport>) {
    for entry in entries.iter().filter(|e| e["event"] == "report") {
        let record = &entry["record"];
        let Some(output) = record.pointer("/outcome/succeeded/output") else { continue };
        let key = format!("{run}:{}:{}", record["path"].as_str().unwrap_or(""), record["visit"]);
        let pass = record["pass"].as_u64().and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
        let at_ms = entry["at"].as_u64().unwrap_or(0);
        stored.entry((key, pass)).or_insert_with(|| StoredReport { at_ms, value: output.clone() });
    }
}
