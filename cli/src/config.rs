//! The settings: defaults, then the file (`stepmill.toml`), then the environment (`STEPMILL_<KEY>`), then flags; the later
//! wins. The only place that reads settings from the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile as FigmentProfile, Provider, Source};
use miette::{LabeledSpan, MietteDiagnostic};
use serde::{Deserialize, Serialize};
use stepmill_protocol::{Namespace, PoolName};
use stepmill_worker::builtin::Runnable;
use stepmill_worker::limit;

use crate::error::{CliError, read_file};

/// The file that is read where none is named, if it is there.
pub(crate) const DEFAULT_FILE: &str = "stepmill.toml";
const ENV_PREFIX: &str = "STEPMILL_";
const THREADS_MAX: usize = 1024;
/// With less, not even a shell starts.
const RUN_MEMORY_MIB_MIN: u64 = 16;

/// Every key with what it means, in the order of `config check`.
pub(crate) const KEYS: [(&str, &str); 22] = [
    ("namespace", "the tenant whose workflows and runs are meant"),
    ("nats_url", "where NATS is; several servers with commas between"),
    ("redis_url", "where Redis is (coordinator only)"),
    ("api_url", "reach the API over HTTP at this address instead of over NATS"),
    ("timeout_s", "seconds that one call of the API may take"),
    ("log", "which log lines are shown, for instance `info` or `warn,stepmill_coordinator=debug`"),
    ("log_format", "`text` or `json`"),
    ("partitions", "partitions of a new installation (an existing one keeps its number)"),
    ("profile", "what the servers must promise: `dev`, `single` or `cluster`"),
    ("life_events", "tell life-cycle events to whoever subscribes: `true` or `false` (coordinator)"),
    (
        "http",
        "where a coordinator serves the API, health and metrics over HTTP, and a worker the last two; nowhere unless said",
    ),
    ("pools", "the pools that a worker serves"),
    ("slots", "tasks that a worker runs at a time, per pool"),
    ("grace_s", "seconds that running steps of a worker may take after it was asked to stop"),
    ("threads", "threads of a coordinator or worker; unless said, one for every two cores that it may use"),
    ("data_dir", "where `dev` keeps its data"),
    ("secrets_dir", "a folder with one file per secret, beside the variables STEPMILL_SECRET_<NAME> (worker)"),
    ("models", "a YAML file with providers of language models, their prices and timeouts (worker)"),
    (
        "allow_run",
        "what a worker may start on its machine: `script`, `shell`, `mcp` (servers over stdio); nothing unless said",
    ),
    ("run_timeout_s", "seconds that each of these may run"),
    ("run_memory_mib", "MiB of memory that each of their processes may use"),
    ("run_output_kib", "KiB that each may write to stdout, and to stderr; at most 320"),
];

/// All settings, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) namespace: Namespace,
    pub(crate) nats_url: String,
    pub(crate) redis_url: String,
    pub(crate) api_url: Option<String>,
    pub(crate) timeout_s: u64,
    pub(crate) log: Option<String>,
    pub(crate) log_format: LogFormat,
    pub(crate) partitions: u16,
    pub(crate) profile: DurabilityProfile,
    pub(crate) life_events: bool,
    pub(crate) http: Option<SocketAddr>,
    #[serde(deserialize_with = "pool_list")]
    pub(crate) pools: Vec<PoolName>,
    pub(crate) slots: usize,
    pub(crate) grace_s: u64,
    pub(crate) threads: Option<usize>,
    pub(crate) data_dir: PathBuf,
    pub(crate) secrets_dir: Option<PathBuf>,
    pub(crate) models: Option<PathBuf>,
    #[serde(with = "crate::runs")]
    pub(crate) allow_run: Vec<Runnable>,
    pub(crate) run_timeout_s: u64,
    pub(crate) run_memory_mib: u64,
    pub(crate) run_output_kib: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What the servers must promise before a coordinator works on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DurabilityProfile {
    /// Nothing beyond the servers' defaults.
    Dev,
    /// One node that survives a power cut: Redis with `appendfsync always`.
    Single,
    /// Survives the loss of a node: three NATS nodes, Redis with replicas.
    Cluster,
}

impl DurabilityProfile {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Single => "single",
            Self::Cluster => "cluster",
        }
    }
}

/// Defaults, as they stand in the documentation.
#[derive(Serialize)]
struct Defaults {
    namespace: &'static str,
    nats_url: &'static str,
    redis_url: &'static str,
    timeout_s: u64,
    log_format: &'static str,
    partitions: u16,
    profile: &'static str,
    life_events: bool,
    pools: [&'static str; 2],
    slots: usize,
    grace_s: u64,
    data_dir: &'static str,
    allow_run: [&'static str; 0],
    run_timeout_s: u64,
    run_memory_mib: u64,
    run_output_kib: usize,
}

const DEFAULTS: Defaults = Defaults {
    namespace: "default",
    nats_url: "nats://127.0.0.1:4222",
    redis_url: "redis://127.0.0.1:6379",
    timeout_s: 10,
    log_format: "text",
    partitions: 8,
    profile: "dev",
    life_events: true,
    pools: ["default", "llm"],
    slots: 16,
    grace_s: 30,
    data_dir: ".stepmill",
    allow_run: [],
    run_timeout_s: limit::RUN_TIMEOUT.as_secs(),
    run_memory_mib: limit::RUN_MEMORY_MIB,
    run_output_kib: limit::RUN_OUTPUT_BYTES / 1024,
};

/// What was given as flags, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(Dict);

impl Flags {
    /// Notes a flag when it was given.
    pub(crate) fn set<T: Serialize>(&mut self, key: &'static str, value: Option<&T>) {
        if let Some(value) = value.and_then(|v| figment::value::Value::serialize(v).ok()) {
            self.0.insert(key.into(), value);
        }
    }
}

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named("flag").interpolater(|_, keys| format!("--{}", keys.join(".").replace('_', "-")))
    }

    fn data(&self) -> Result<Map<FigmentProfile, Dict>, figment::Error> {
        Ok(Map::from([(FigmentProfile::Default, self.0.clone())]))
    }
}

/// The settings and where each came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    figment: Figment,
}

/// One row of `config check`.
#[derive(Debug, Serialize)]
pub(crate) struct Origin {
    pub(crate) key: &'static str,
    pub(crate) value: serde_json::Value,
    pub(crate) source: String,
    pub(crate) meaning: &'static str,
}

/// Puts the settings together.
pub(crate) fn load(file: Option<&Path>, flags: Flags) -> Result<Loaded, CliError> {
    let mut figment = Figment::from(Serialized::defaults(&DEFAULTS));
    let file = match file {
        Some(named) => Some(named.to_owned()),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|f| f.exists()),
    };
    let text = match &file {
        Some(path) => {
            let text = read_file(path)?;
            check_keys(path, &text)?;
            figment = figment.merge(Toml::file_exact(path));
            Some(text)
        }
        None => None,
    };
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    figment = figment.merge(Env::prefixed(ENV_PREFIX).only(&keys)).merge(flags);
    let settings: Settings = figment.extract().map_err(|e| explain(e, file.as_deref().zip(text.as_deref())))?;
    check_values(&settings)?;
    Ok(Loaded { settings, figment })
}

impl Settings {
    /// How many threads a coordinator or a worker has. Few, since both do little but read and write: a thread more means
    /// smaller batches and more waking up.
    pub(crate) fn server_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or(cores / 2).max(1)
    }
}

impl Loaded {
    /// Each value and where it came from.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        let values = serde_json::to_value(&self.settings).unwrap_or_default();
        KEYS.iter()
            .map(|&(key, meaning)| Origin {
                key,
                value: values.get(key).map(shown).unwrap_or_default(),
                source: self.figment.find_metadata(key).map_or_else(|| "not set".into(), |m| source_of(m, key)),
                meaning,
            })
            .collect()
    }

    /// Environment variables with our prefix that name no setting and nothing else that we read.
    pub(crate) fn stray_variables() -> Vec<String> {
        const OTHERS: [&str; 10] = [
            "CONFIG",
            "CASSETTE",
            "NATS_SERVER",
            "REDIS_SERVER",
            "SIDE_FILE",
            "LLM_API_KEY",
            "LLM_BASE_URL",
            "BIN",
            "CORPORA",
            "ADVISORIES",
        ];
        let mut stray: Vec<String> = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| {
                name.strip_prefix(ENV_PREFIX).is_some_and(|rest| {
                    let known = KEYS.iter().any(|(key, _)| key.eq_ignore_ascii_case(rest));
                    !known && !OTHERS.contains(&rest) && !rest.starts_with("SECRET_") && !rest.starts_with("LLM_")
                })
            })
            .collect();
        stray.sort();
        stray
    }
}

/// A value without the names and passwords that stand in addresses.
fn shown(value: &serde_json::Value) -> serde_json::Value {
    let Some(text) = value.as_str().filter(|t| t.contains("://")) else { return value.clone() };
    let hide = |url: &str| match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, place)))) => format!("{scheme}://***@{place}"),
        Some((_, None)) | None => url.to_owned(),
    };
    text.split(',').map(hide).collect::<Vec<_>>().join(",").into()
}

fn source_of(metadata: &Metadata, key: &str) -> String {
    match (file_of(metadata), metadata.name.as_ref()) {
        (Some(path), _) => format!("file {}", path.display()),
        (None, "flag") => format!("flag {}", flag_of(key)),
        (None, name) if name.contains(ENV_PREFIX) => format!("environment {ENV_PREFIX}{}", key.to_ascii_uppercase()),
        (None, _) => "default".into(),
    }
}

fn file_of(metadata: &Metadata) -> Option<&Path> {
    metadata.source.as_ref().and_then(Source::file_path)
}

// The flags have shorter names than the keys where the type says the rest.
fn flag_of(key: &str) -> String {
    let name = match key {
        "nats_url" => "nats",
        "redis_url" => "redis",
        "pools" => "pool",
        "data_dir" => "dir",
        "timeout_s" => "timeout",
        "grace_s" => "grace",
        other => other,
    };
    format!("--{}", name.replace('_', "-"))
}

/// All keys of the file that we do not know, at once and with their place; also text that is no TOML.
fn check_keys(path: &Path, text: &str) -> Result<(), CliError> {
    type Keys = std::collections::BTreeMap<toml::Spanned<String>, toml::Value>;
    let name = path.display().to_string();
    let found: Keys = toml::from_str(text).map_err(|e| {
        let span = e.span().unwrap_or(0..0);
        let diagnostic = MietteDiagnostic::new(format!("{name} is not valid TOML"))
            .with_label(LabeledSpan::at(span, e.message().to_owned()))
            .with_help("one `key = value` a line; texts in double quotes");
        CliError::labelled(diagnostic, &name, text)
    })?;
    let unknown: Vec<LabeledSpan> = found
        .keys()
        .filter(|k| !KEYS.iter().any(|(known, _)| known == k.get_ref()))
        .map(|k| LabeledSpan::at(k.span(), "no setting has this name"))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let diagnostic = MietteDiagnostic::new(format!("{name} holds unknown keys"))
        .with_labels(unknown)
        .with_help(format!("the settings are: {}", known.join(", ")));
    Err(CliError::labelled(diagnostic, &name, text))
}

/// Says which value is wrong and where it came from.
fn explain(errors: figment::Error, file: Option<(&Path, &str)>) -> CliError {
    let mut first = None;
    let mut lines = Vec::new();
    for error in errors {
        let key = error.path.join(".");
        let source = error.metadata.as_ref().map_or_else(|| "unknown".into(), |m| source_of(m, &key));
        lines.push(format!("`{key}` from {source}: {}", error.kind));
        first = first.or(Some((key, error.metadata.as_ref().is_some_and(|m| file_of(m).is_some()))));
    }
    let message = format!("a setting is wrong: {}", lines.join("; "));
    let help = "`stepmill config check` shows every setting, its value and where it came from";
    let diagnostic = MietteDiagnostic::new(message).with_help(help);
    match (first, file) {
        (Some((key, true)), Some((path, text))) => {
            let place = text.lines().scan(0usize, |at, line| {
                let start = *at;
                *at += line.len() + 1;
                Some((start, line))
            });
            let found = place
                .into_iter()
                .find(|(_, line)| line.split('=').next().is_some_and(|left| left.trim() == key) && line.contains('='));
            let (start, length) = found.map_or((0, 0), |(start, line)| (start, line.len()));
            let label = LabeledSpan::at(start..start + length, "this value");
            CliError::labelled(diagnostic.with_label(label), &path.display().to_string(), text)
        }
        (None | Some(_), _) => CliError::diagnostic(diagnostic),
    }
}

fn check_values(settings: &Settings) -> Result<(), CliError> {
    let wrong = |key: &str, rule: &str| {
        Err(CliError::usage(
            format!("a setting is wrong: `{key}` {rule}"),
            "`stepmill config check` shows every setting, its value and where it came from",
        ))
    };
    if settings.partitions == 0 || settings.partitions > 1024 {
        return wrong("partitions", "must be between 1 and 1024");
    }
    if settings.slots == 0 || settings.slots > 10_000 {
        return wrong("slots", "must be between 1 and 10000");
    }
    if settings.threads.is_some_and(|n| n == 0 || n > THREADS_MAX) {
        return wrong("threads", "must be between 1 and 1024");
    }
    if settings.pools.is_empty() {
        return wrong("pools", "names no pool");
    }
    if settings.timeout_s == 0 {
        return wrong("timeout_s", "must be at least 1");
    }
    if settings.run_timeout_s == 0 {
        return wrong("run_timeout_s", "must be at least 1");
    }
    if settings.run_memory_mib < RUN_MEMORY_MIB_MIN {
        return wrong("run_memory_mib", "must be at least 16");
    }
    if settings.run_output_kib == 0 || settings.run_output_kib > limit::RUN_OUTPUT_BYTES_MAX / 1024 {
        return wrong("run_output_kib", "must be between 1 and 320");
    }
    if settings.api_url.as_deref().is_some_and(|u| !u.starts_with("http://") && !u.starts_with("https://")) {
        return wrong("api_url", "must begin with http:// or https://");
    }
    Ok(())
}

/// A list of pools, or one text with commas between (as the environment gives it).
fn pool_list<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<PoolName>, D::Error> {
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
    names.iter().map(|n| PoolName::new(n).map_err(serde::de::Error::custom)).collect()
}
