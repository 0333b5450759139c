//! A system to be measured: on servers with processes of its own, or embedded in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use stepmill_protocol::api::ListRequest;
use stepmill_protocol::{Client, PoolName};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;
use super::machinery::Machinery;
use super::times::round;
use crate::assemble::{self, Steps, Storage, System, Workers};
use crate::command::Context;
use crate::config::Settings;
use crate::connect;
use crate::error::CliError;
use crate::servers::{self, Sync};
use crate::usage::{self, Used};

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the processes of one role used.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct RoleUse {
    pub(crate) processes: usize,
    pub(crate) cpu_s: f64,
    /// The largest of its processes.
    pub(crate) peak_rss_mb: f64,
    #[serde(skip)]
    pub(crate) peak_rss_sum_mb: f64,
}

/// What was used, by role.
pub(crate) type Uses = BTreeMap<&'static str, RoleUse>;

/// What was measured while work was done.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    pub(crate) uses: Uses,
    pub(crate) wall: Duration,
    /// Cores that were busy with something else; nothing where the system does not tell.
    pub(crate) other_cores: Option<f64>,
}

/// Processes to look at, with their roles.
pub(crate) struct Meter(pub(crate) Vec<(&'static str, u32)>);

impl Meter {
    /// What they used so far.
    pub(crate) fn read(&self) -> Uses {
        let mut uses = Uses::new();
        for (role, pid) in &self.0 {
            let used: Used = usage::of(*pid).unwrap_or_default();
            let entry = uses.entry(role).or_default();
            entry.processes += 1;
            entry.cpu_s += used.cpu_s;
            entry.peak_rss_mb = entry.peak_rss_mb.max(round(used.peak_rss_mb));
            entry.peak_rss_sum_mb += used.peak_rss_mb;
        }
        uses
    }

    /// What they use while the work is done: CPU as the difference, memory as it is at the end.
    pub(crate) async fn measure<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<(T, Cost), CliError> {
        let (before, busy_before, begun) = (self.read(), usage::machine_busy_s(), Instant::now());
        let done = work.await?;
        let (wall, busy_after) = (begun.elapsed(), usage::machine_busy_s());
        let less = |role: &str| before.get(role).map_or(0.0, |u| u.cpu_s);
        let used = |(role, u): (&'static str, RoleUse)| (role, RoleUse { cpu_s: round(u.cpu_s - less(role)), ..u });
        let uses: Uses = self.read().into_iter().map(used).collect();
        let own: f64 = uses.values().map(|u| u.cpu_s).sum();
        let busy = busy_before.zip(busy_after).map(|(before, after)| after - before);
        let other_cores = busy.map(|busy| ((busy - own) / wall.as_secs_f64()).max(0.0));
        Ok((done, Cost { uses, wall, other_cores }))
    }
}

/// What a line says about the system.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) adapters: &'static str,
    pub(crate) profile: &'static str,
    pub(crate) versions: Value,
    pub(crate) settings: Value,
}

enum Kind {
    Servers(Box<Fleet>),
    Embedded { system: System, workers: Workers, stop: CancellationToken },
}

/// A system that runs.
pub(crate) struct Stand {
    client: Client,
    facts: Facts,
    kind: Kind,
    sync: Sync,
    /// The last field: the folder goes when all that writes into it has ended.
    dir: TempDir,
}

impl Stand {
    /// Starts it, and waits until it answers; without coordinators, that is left to who adds some.
    pub(crate) async fn start(context: &Context, machinery: &Machinery) -> Result<Self, CliError> {
        let dir = temporary()?;
        if machinery.embedded {
            return Self::embedded(context, machinery, dir).await;
        }
        let (settings, sync) = (context.settings(), machinery.profile.sync());
        let mut fleet = Fleet::start(dir.path(), sync).await?;
        for _ in 0..machinery.coordinators {
            spawn_coordinator(&mut fleet, sync, settings.partitions, None)?;
        }
        for _ in 0..machinery.workers {
            spawn_worker(&mut fleet, machinery.slots)?;
        }
        let settings = Settings { nats_url: fleet.nats_url().to_owned(), api_url: None, ..settings.clone() };
        let client = connect::client(&settings).await?;
        let facts = Facts {
            adapters: "nats+redis",
            profile: sync.as_str(),
            versions: json!({ "stepmill": env!("CARGO_PKG_VERSION"), "servers": fleet.versions() }),
            settings: json!({
                "redis_appendfsync": sync.as_str(), "nats_sync_interval": "2m (default)", "nats_replicas": 1,
                "coordinators": machinery.coordinators, "workers": machinery.workers,
                "slots_per_worker": machinery.slots, "partitions": settings.partitions,
            }),
        };
        let mut stand = Self { client, facts, kind: Kind::Servers(Box::new(fleet)), sync, dir };
        if machinery.coordinators > 0 {
            stand.ready().await?;
        }
        Ok(stand)
    }

    async fn embedded(context: &Context, machinery: &Machinery, dir: TempDir) -> Result<Self, CliError> {
        let settings = context.settings();
        let storage = Storage::File(dir.path().join("bench.redb"));
        let system = assemble::embedded(&storage, Some(settings.partitions), None).await?;
        let stop = CancellationToken::new();
        let pools = vec![PoolName::new("default").map_err(|e| CliError::new(e.to_string()))?];
        let slots = usize::from(machinery.slots) * usize::from(machinery.workers);
        let worker = Settings { slots, pools, ..settings.clone() };
        let workers = assemble::workers(&system.link, &worker, Steps::Probe, None, stop.clone())?;
        let facts = Facts {
            adapters: "embedded",
            profile: "file",
            versions: json!({ "stepmill": env!("CARGO_PKG_VERSION") }),
            settings: json!({ "storage": "file", "slots": slots, "partitions": settings.partitions }),
        };
        let client = system.client(settings);
        let kind = Kind::Embedded { system, workers, stop };
        Ok(Self { client, facts, kind, sync: Sync::EverySecond, dir })
    }

    /// Waits until a coordinator answers.
    pub(crate) async fn ready(&mut self) -> Result<(), CliError> {
        let client = self.client.clone();
        self.while_it_runs(answers(&client)).await
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// Its processes; an error where it has none of its own.
    pub(crate) fn fleet(&mut self) -> Result<&mut Fleet, CliError> {
        match &mut self.kind {
            Kind::Servers(fleet) => Ok(fleet),
            Kind::Embedded { .. } => Err(CliError::new("an embedded system has no processes of its own")),
        }
    }

    /// Starts one more coordinator, which says at `http` how many partitions it owns.
    pub(crate) fn add_coordinator(&mut self, partitions: u16, http: &str) -> Result<(), CliError> {
        let sync = self.sync;
        spawn_coordinator(self.fleet()?, sync, partitions, Some(http))
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self, slots: u16) -> Result<(), CliError> {
        spawn_worker(self.fleet()?, slots)
    }

    /// Does the work, and says what all processes used meanwhile; this one, the client, is among them.
    pub(crate) async fn measure<T>(
        &mut self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<(T, Cost), CliError> {
        let own = std::process::id();
        match &mut self.kind {
            Kind::Embedded { .. } => Meter(vec![("stepmill", own)]).measure(work).await,
            Kind::Servers(fleet) => {
                let mut meter = fleet.meter();
                meter.0.push(("client", own));
                fleet.while_all_run(meter.measure(work)).await
            }
        }
    }

    /// Does the work, unless one of the processes ends meanwhile.
    pub(crate) async fn while_it_runs<T>(
        &mut self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        match &mut self.kind {
            Kind::Embedded { .. } => work.await,
            Kind::Servers(fleet) => fleet.while_all_run(work).await,
        }
    }

    /// Ends everything and removes the folder.
    pub(crate) async fn stop(self) -> Result<(), CliError> {
        match self.kind {
            Kind::Servers(fleet) => fleet.stop().await,
            Kind::Embedded { system, workers, stop } => {
                stop.cancel();
                workers.wait().await?;
                system.running.drain().await;
            }
        }
        drop(self.dir);
        Ok(())
    }
}

/// A folder that goes with its owner.
pub(crate) fn temporary() -> Result<TempDir, CliError> {
    let dir = tempfile::Builder::new().prefix("stepmill-bench-").tempdir();
    dir.map_err(|e| CliError::new(format!("cannot make a folder for the bench: {e}")))
}

/// Addresses for coordinators that serve HTTP.
pub(crate) fn http_address() -> Result<String, CliError> {
    Ok(format!("127.0.0.1:{}", servers::free_port(None)?))
}

fn spawn_coordinator(fleet: &mut Fleet, sync: Sync, partitions: u16, http: Option<&str>) -> Result<(), CliError> {
    let (nats, redis) = (fleet.nats_url().to_owned(), fleet.redis_url().to_owned());
    let profile = if sync == Sync::Always { "single" } else { "dev" };
    let partitions = partitions.to_string();
    let mut args = vec!["coordinator", "--nats", &nats, "--redis", &redis, "--profile", profile];
    args.extend(["--partitions", &partitions]);
    if let Some(address) = http {
        args.extend(["--http", address]);
    }
    fleet.spawn("coordinator", &args)
}

fn spawn_worker(fleet: &mut Fleet, slots: u16) -> Result<(), CliError> {
    let (nats, slots) = (fleet.nats_url().to_owned(), slots.to_string());
    fleet.spawn("worker", &["worker", "--noop", "--pool", "default", "--slots", &slots, "--nats", &nats])
}

/// The coordinators answer.
async fn answers(client: &Client) -> Result<(), CliError> {
    let until = Instant::now() + READY_WITHIN;
    let client = client.clone().with_timeout(Duration::from_secs(1));
    loop {
        match client.list(&ListRequest::default()).await {
            Ok(_) => return Ok(()),
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            Err(problem) => return Err(problem.into()),
        }
    }
}
