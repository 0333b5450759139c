//! What kind of machine this is.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::command::bench::stand::temporary;
use crate::command::bench::times::Times;

const SYNCS: usize = 200;

/// In words, most important first.
pub(super) fn facts() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        text.lines().find_map(|l| l.strip_prefix(key)).map(|v| v.trim_matches([' ', '\t', ':', '=', '"']).to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "an unknown processor".into());
    let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|m| m.split(' ').next()?.parse::<f64>().ok());
    let memory = memory.map_or_else(String::new, |kb| format!("{:.0} GiB", kb / 1024.0 / 1024.0));
    let system = field(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.into());
    let mut facts = vec![
        ("processor", format!("{cores} cores, {model}")),
        ("memory", memory),
        ("system", format!("{system}, kernel {}", read("/proc/sys/kernel/osrelease").trim())),
    ];
    if let Some(syncs) = syncs() {
        let ms = |share: f64| syncs.ms(share).unwrap_or_default();
        facts.push(("disk", format!("fdatasync after 1 KiB: p50 {:.2} ms, p99 {:.2} ms", ms(0.5), ms(0.99))));
    }
    facts
}

/// How long the disk takes to have a little data.
fn syncs() -> Option<Times> {
    let dir = temporary().ok()?;
    let mut file = std::fs::File::create(dir.path().join("sync")).ok()?;
    let mut times: Vec<Duration> = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[7; 1024]).ok()?;
        file.sync_data().ok()?;
        times.push(begun.elapsed());
    }
    Some(Times(times))
}
