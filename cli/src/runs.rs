//! What a worker of ours may start on its machine, as the settings say it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};
use stepmill_worker::builtin::{RunRules, Runnable};

use crate::config::Settings;

/// The rules of the built-in steps `script`, `shell` and `mcp`.
pub(crate) fn rules(settings: &Settings) -> RunRules {
    let rules = RunRules::default()
        .timeout(Duration::from_secs(settings.run_timeout_s))
        .memory_mib(settings.run_memory_mib)
        .output_bytes(settings.run_output_kib * 1024);
    settings.allow_run.iter().fold(rules, |rules, kind| rules.allow(*kind))
}

/// The flag as a setting, where it was given.
pub(crate) fn flag(kinds: &[Runnable]) -> Option<Vec<&'static str>> {
    (!kinds.is_empty()).then(|| kinds.iter().map(|kind| kind.as_str()).collect())
}

/// A list of kinds, or one text with commas between (as the environment gives it).
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Runnable>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        List(Vec<String>),
    }
    let names = match Given::deserialize(d)? {
        Given::Text(text) => text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect(),
        Given::List(list) => list,
    };
    names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
}

pub(crate) fn serialize<S: Serializer>(kinds: &[Runnable], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(kinds.iter().map(|kind| kind.as_str()))
}
