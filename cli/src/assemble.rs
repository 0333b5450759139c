//! Which adapters stand behind which ports: the only place that knows all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stepmill_coordinator::store::embedded::{Embedded, EmbeddedOptions};
use stepmill_coordinator::store::redis::{Profile, RedisOptions, RedisStore, profile_mismatches, profile_unknowns};
use stepmill_coordinator::{Coordinator, CoordinatorConfig, Ports, Running};
use stepmill_nats::{Nats, NatsOptions, NatsWorkerLink, StreamOptions};
use stepmill_protocol::Client;
use stepmill_protocol::link::{ApiCaller, WorkerLink};
use stepmill_worker::{CancellationToken, Health, Secrets, Worker, WorkerBuilder, WorkerError};
use tokio::task::JoinSet;

use crate::config::{DurabilityProfile, Settings};
use crate::error::CliError;
use crate::local::LocalError;
use crate::model::Fallback;
use crate::{model, probe, runs};

/// The largest message that the broker must take: a value of the largest size, with what stands around it.
const BROKER_PAYLOAD_MIN: usize = 1024 * 1024;

/// Where the embedded adapters keep everything.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// Gone with the process.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// A coordinator on the embedded adapters, and the ways to it.
pub(crate) struct System {
    pub(crate) running: Running,
    pub(crate) link: Arc<dyn WorkerLink>,
    pub(crate) caller: Arc<dyn ApiCaller>,
}

impl System {
    /// A client in this process.
    pub(crate) fn client(&self, settings: &Settings) -> Client {
        Client::new(Arc::clone(&self.caller), settings.namespace.clone())
            .with_timeout(Duration::from_secs(settings.timeout_s))
    }
}

/// Starts a coordinator on the embedded adapters.
pub(crate) async fn embedded(
    storage: &Storage,
    partitions: Option<u16>,
    http: Option<SocketAddr>,
) -> Result<System, LocalError> {
    let path = match storage {
        Storage::Memory => None,
        Storage::File(path) => Some(path.clone()),
    };
    let embedded = Embedded::open(EmbeddedOptions { path, ..EmbeddedOptions::default() })?;
    let ports = Ports {
        store: embedded.store(),
        log: embedded.log(),
        tasks: embedded.tasks(),
        jobs: None,
        events: embedded.events(),
        life: embedded.life(),
        archive: embedded.archive(),
        bus: embedded.bus(),
    };
    let mut config = CoordinatorConfig { http, ..CoordinatorConfig::default() };
    config.partitions = partitions.unwrap_or(config.partitions);
    let mut running = Coordinator::start(config, ports).await?;
    running.ready().await;
    Ok(System { running, link: embedded.worker_link(), caller: embedded.api_caller() })
}

/// What only one coordinator is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    /// Its name; one of its own unless said.
    pub(crate) name: Option<String>,
    /// How long the broker remembers the ids of task messages. Correctness does not rest on it, which tests show by making
    /// it short.
    pub(crate) dedup_window: Option<Duration>,
}

/// Starts a coordinator on NATS and Redis, once it is clear that the servers promise what the profile says.
pub(crate) async fn coordinator_on_servers(settings: &Settings, tuning: Tuning) -> Result<Running, CliError> {
    let store = RedisStore::connect(&settings.redis_url, RedisOptions::default()).await.map_err(|e| {
        CliError::with_help(e.to_string(), "say where Redis is: `--redis URL`, STEPMILL_REDIS_URL or `redis_url`")
    })?;
    check_profile(settings.profile, &store)?;
    let mut config =
        CoordinatorConfig { partitions: settings.partitions, http: settings.http, ..CoordinatorConfig::default() };
    config.life_events = settings.life_events;
    config.name = tuning.name.unwrap_or(config.name);
    let nats = nats(settings, &config.name, true).await?;
    check_broker(settings.profile, &nats)?;
    let mut streams = StreamOptions {
        replicas: if settings.profile == DurabilityProfile::Cluster { 3 } else { 1 },
        log_max_age: config.log_age,
        ..StreamOptions::default()
    };
    streams.tasks_dedup_window = tuning.dedup_window.unwrap_or(streams.tasks_dedup_window);
    let ports = stepmill_coordinator::queue::nats::ports(nats, streams, Arc::new(store));
    let ports = ports.await.map_err(|e| CliError::new(e.to_string()))?;
    Coordinator::start(config, ports).await.map_err(|e| CliError::new(e.to_string()))
}

fn check_profile(wanted: DurabilityProfile, store: &RedisStore) -> Result<(), CliError> {
    let profile = match wanted {
        DurabilityProfile::Dev => Profile::Dev,
        DurabilityProfile::Single => Profile::Single,
        DurabilityProfile::Cluster => Profile::Cluster,
    };
    for unknown in profile_unknowns(profile, store.settings()) {
        tracing::warn!("{unknown}");
    }
    promised(wanted, profile_mismatches(profile, store.settings()))
}

fn promised(wanted: DurabilityProfile, less: Vec<String>) -> Result<(), CliError> {
    if less.is_empty() {
        return Ok(());
    }
    Err(CliError::with_help(
        format!("the servers promise less than the profile `{}`:\n{}", wanted.as_str(), less.join("\n")),
        "change the settings named above, or choose a profile that promises less (`--profile`)",
    ))
}

/// What the broker must be set to; the streams' own settings are made when they are.
fn check_broker(wanted: DurabilityProfile, nats: &Nats) -> Result<(), CliError> {
    let mut less = Vec::new();
    if nats.max_payload() < BROKER_PAYLOAD_MIN {
        less.push(format!(
            "NATS takes messages of {} bytes at most: set `max_payload: 1MB` in its configuration",
            nats.max_payload()
        ));
    }
    if wanted == DurabilityProfile::Cluster && nats.cluster().is_none() {
        less.push(
            "NATS is a server that stands alone, and streams are to have three copies: give three servers a block \
             `cluster { name, listen, routes }` in their configuration"
                .to_owned(),
        );
    }
    promised(wanted, less)
}

/// A worker's way to its pools.
pub(crate) async fn nats_link(settings: &Settings, name: &str) -> Result<Arc<dyn WorkerLink>, CliError> {
    Ok(Arc::new(NatsWorkerLink::new(nats(settings, name, false).await?)))
}

async fn nats(settings: &Settings, name: &str, check_jetstream: bool) -> Result<Nats, CliError> {
    let mut options = NatsOptions::new(&settings.nats_url, name);
    options.check_jetstream = check_jetstream;
    Nats::connect(options).await.map_err(|e| {
        CliError::with_help(e.to_string(), "say where NATS is: `--nats URL`, STEPMILL_NATS_URL or `nats_url`")
    })
}

/// Which steps a worker of ours serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Steps {
    /// Those that come with every worker.
    BuiltIn(Fallback),
    /// `noop`, `sleep` and `random`.
    Probe,
}

/// Starts one worker per pool of the settings, shown by `health`.
pub(crate) fn workers(
    link: &Arc<dyn WorkerLink>,
    settings: &Settings,
    steps: Steps,
    health: Option<&Health>,
    stop: CancellationToken,
) -> Result<Workers, CliError> {
    let mut workers = Workers::new(stop);
    for pool in &settings.pools {
        let builder = Worker::builder(Arc::clone(link)).pool(pool.as_str()).slots(settings.slots);
        let builder = builder.secrets(Secrets::from_env(settings.secrets_dir.clone()));
        let builder = builder.grace(Duration::from_secs(settings.grace_s));
        let builder = health.iter().fold(builder, |builder, health| builder.health(health));
        let builder = match steps {
            Steps::BuiltIn(fallback) => model::built_in(builder, settings, fallback, runs::rules(settings))?,
            Steps::Probe => probe::steps(builder),
        };
        workers.add(builder).map_err(|e| CliError::new(e.to_string()))?;
    }
    Ok(workers)
}

/// Workers that run until they are stopped together. Dropping them ends them at once.
pub(crate) struct Workers {
    tasks: JoinSet<Result<(), WorkerError>>,
    stop: CancellationToken,
}

impl Workers {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), stop }
    }

    /// Starts one more.
    pub(crate) fn add(&mut self, builder: WorkerBuilder) -> Result<(), WorkerError> {
        let worker = builder.build()?;
        self.tasks.spawn(worker.run(self.stop.clone().cancelled_owned()));
        Ok(())
    }

    /// Resolves when all have ended, or with the first error.
    pub(crate) async fn join(mut self) -> Result<(), WorkerError> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(result) => result?,
                Err(error) => tracing::error!(%error, "a worker broke down"),
            }
        }
        Ok(())
    }

    /// The same for a command.
    pub(crate) async fn wait(self) -> Result<(), CliError> {
        self.join().await.map_err(|e| CliError::new(e.to_string()))
    }
}
