//! The processes of a bench: servers, coordinators and workers, started in a folder of their own, measured, stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::CliError;
use crate::servers::{self, Programs, Server, Sync};
use crate::usage::{self, Used};

const STOP_WITHIN: Duration = Duration::from_secs(10);

/// All processes of one bench.
pub(crate) struct Fleet {
    nats: Server,
    redis: Server,
    own: Vec<(&'static str, Child)>,
}

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) coordinators: usize,
    pub(crate) workers: usize,
    pub(crate) slots: usize,
}

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

impl Fleet {
    /// Starts everything, with data and logs in `dir`.
    pub(crate) async fn start(dir: &Path, size: Size, sync: Sync) -> Result<Self, CliError> {
        let programs = Programs::find().map_err(|missing| {
            CliError::with_help(
                format!("{} is missing", missing.join(" and ")),
                "run deploy/get-nats-server and deploy/get-redis-server, or set STEPMILL_NATS_SERVER and \
                 STEPMILL_REDIS_SERVER, or measure one process with --embedded",
            )
        })?;
        let nats = servers::start_nats(&programs.nats, dir, servers::free_port(None)?).await?;
        let redis = servers::start_redis(&programs.redis, dir, servers::free_port(None)?, sync).await?;
        let mut fleet = Self { nats, redis, own: Vec::new() };
        let (nats, redis) = (fleet.nats.url.clone(), fleet.redis.url.clone());
        for n in 0..size.coordinators {
            let profile = if sync == Sync::Always { "single" } else { "dev" };
            let args = ["coordinator", "--nats", &nats, "--redis", &redis, "--profile", profile];
            fleet.spawn("coordinator", n, dir, &args)?;
        }
        let slots = size.slots.to_string();
        for n in 0..size.workers {
            let args = ["worker", "--noop", "--pool", "default", "--slots", &slots, "--nats", &nats];
            fleet.spawn("worker", n, dir, &args)?;
        }
        Ok(fleet)
    }

    fn spawn(&mut self, role: &'static str, n: usize, dir: &Path, args: &[&str]) -> Result<(), CliError> {
        let fail = |e: std::io::Error| CliError::new(format!("cannot start a {role}: {e}"));
        let log = std::fs::File::create(dir.join(format!("{role}-{n}.log"))).map_err(fail)?;
        let mut command = Command::new(std::env::current_exe().map_err(fail)?);
        command.args(args).args(["--log", "warn"]);
        // Settings of the user's own environment and folder must not change what is measured.
        command.current_dir(dir);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEPMILL_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
        self.own.push((role, command.spawn().map_err(fail)?));
        Ok(())
    }

    pub(crate) fn nats_url(&self) -> &str {
        &self.nats.url
    }

    /// The servers' versions.
    pub(crate) fn versions(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("nats_server", self.nats.version.clone()), ("redis_server", self.redis.version.clone())])
    }

    /// Says when one of our processes has ended by itself.
    pub(crate) fn check(&mut self, dir: &Path) -> Result<(), CliError> {
        let mut number = BTreeMap::new();
        for (role, child) in &mut self.own {
            let n = number.entry(*role).and_modify(|n| *n += 1).or_insert(0);
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(dir.join(format!("{role}-{n}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                let said: Vec<&str> = tail.into_iter().rev().collect();
                return Err(CliError::new(format!("a {role} ended: {status}\n{}", said.join("\n"))));
            }
        }
        Ok(())
    }

    /// What every role used so far; the client (this process) is one of them.
    pub(crate) fn used(&self) -> Uses {
        let servers = [("nats-server", self.nats.pid()), ("redis-server", self.redis.pid())];
        let own = self.own.iter().map(|(role, child)| (*role, child.id()));
        sum(servers.into_iter().chain(own).chain([("client", Some(std::process::id()))]))
    }

    /// Ends everything: workers and coordinators first, so that they can drain.
    pub(crate) async fn stop(self) {
        for (role, mut child) in self.own.into_iter().rev() {
            if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if timeout(STOP_WITHIN, child.wait()).await.is_err() {
                tracing::warn!(role, "did not drain within {STOP_WITHIN:?}; it is killed");
                let _ = child.kill().await;
            }
        }
        self.nats.stop().await;
        self.redis.stop().await;
    }
}

/// What processes used so far, by role.
pub(crate) fn sum(processes: impl Iterator<Item = (&'static str, Option<u32>)>) -> Uses {
    let mut uses = Uses::new();
    for (role, pid) in processes {
        let used: Used = pid.and_then(usage::of).unwrap_or_default();
        let entry = uses.entry(role).or_default();
        entry.processes += 1;
        entry.cpu_s += used.cpu_s;
        entry.peak_rss_mb = entry.peak_rss_mb.max(used.peak_rss_mb);
        entry.peak_rss_sum_mb += used.peak_rss_mb;
    }
    uses
}

/// What was used between two looks: CPU as the difference, memory as it is at the end.
pub(crate) fn between(before: &Uses, after: Uses) -> Uses {
    let less = |role: &str| before.get(role).map_or(0.0, |u| u.cpu_s);
    after.into_iter().map(|(role, u)| (role, RoleUse { cpu_s: u.cpu_s - less(role), ..u })).collect()
}
