//! The processes of a bench: servers, coordinators and workers, started in a folder of their own, watched, stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, select_all};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::stand::Meter;
use crate::error::CliError;
use crate::servers::{self, Programs, Server, Sync};

const STOP_WITHIN: Duration = Duration::from_secs(10);
const GONE_WITHIN: Duration = Duration::from_secs(2);
const TAIL_LINES: usize = 15;

/// All processes of one bench.
pub(crate) struct Fleet {
    home: PathBuf,
    nats: Server,
    redis: Server,
    members: Vec<Member>,
    started: usize,
    /// The last field: dropped when all children have been told to end.
    leftovers: Leftovers,
}

/// One of our own processes.
pub(crate) struct Member {
    pub(crate) role: &'static str,
    pub(crate) child: Child,
    log: PathBuf,
}

impl Fleet {
    /// Starts the servers, with data and logs in `home`.
    pub(crate) async fn start(home: &Path, sync: Sync) -> Result<Self, CliError> {
        let programs = Programs::find().map_err(|missing| {
            CliError::with_help(
                format!("{} is missing", missing.join(" and ")),
                "run deploy/get-nats-server and deploy/get-redis-server, or set STEPMILL_NATS_SERVER and \
                 STEPMILL_REDIS_SERVER, or measure one process with --embedded",
            )
        })?;
        let nats = servers::start_nats(&programs.nats, home, None).await?;
        let redis = servers::start_redis(&programs.redis, home, None, sync).await?;
        let leftovers = Leftovers([nats.pid(), redis.pid()].into_iter().flatten().collect());
        Ok(Self { home: home.to_owned(), nats, redis, members: Vec::new(), started: 0, leftovers })
    }

    /// Starts this binary once more, with these arguments.
    pub(crate) fn spawn(&mut self, role: &'static str, args: &[&str]) -> Result<(), CliError> {
        self.spawn_with(role, args, Stdio::null(), Stdio::null())
    }

    /// The same with its stdin and stdout as pipes.
    pub(crate) fn spawn_piped(&mut self, role: &'static str, args: &[&str]) -> Result<&mut Child, CliError> {
        self.spawn_with(role, args, Stdio::piped(), Stdio::piped())?;
        let last = self.members.last_mut().map(|m| &mut m.child);
        last.ok_or_else(|| CliError::new(format!("the {role} is gone")))
    }

    fn spawn_with(&mut self, role: &'static str, args: &[&str], stdin: Stdio, out: Stdio) -> Result<(), CliError> {
        let fail = |e: std::io::Error| CliError::new(format!("cannot start a {role}: {e}"));
        let log = self.home.join(format!("{role}-{}.log", self.started));
        let file = std::fs::File::create(&log).map_err(fail)?;
        let mut command = Command::new(std::env::current_exe().map_err(fail)?);
        command.args(args).args(["--log", "warn"]);
        without_own_settings(&mut command, &self.home);
        // A process group of its own: Ctrl-C reaches us alone.
        command.stdin(stdin).stdout(out).stderr(file).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(fail)?;
        self.leftovers.0.extend(child.id());
        self.started += 1;
        self.members.push(Member { role, child, log });
        Ok(())
    }

    pub(crate) fn nats_url(&self) -> &str {
        &self.nats.url
    }

    pub(crate) fn redis_url(&self) -> &str {
        &self.redis.url
    }

    /// The servers' versions.
    pub(crate) fn versions(&self) -> serde_json::Value {
        serde_json::json!({ "nats_server": self.nats.version, "redis_server": self.redis.version })
    }

    /// Looks at all processes that are there now.
    pub(crate) fn meter(&self) -> Meter {
        let servers = [("nats-server", self.nats.pid()), ("redis-server", self.redis.pid())];
        let own = self.members.iter().map(|m| (m.role, m.child.id()));
        Meter(servers.into_iter().chain(own).filter_map(|(role, pid)| Some((role, pid?))).collect())
    }

    /// Gives the oldest process of this role away: whoever kills it does not want to be told that it has ended.
    pub(crate) fn release(&mut self, role: &str) -> Result<Member, CliError> {
        let place = self.members.iter().position(|m| m.role == role);
        place.map(|at| self.members.remove(at)).ok_or_else(|| CliError::new(format!("there is no {role} to kill")))
    }

    /// Does the work, unless one of the processes ends meanwhile.
    pub(crate) async fn while_all_run<T>(
        &mut self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let done = tokio::select! {
            biased;
            done = work => done,
            error = first_end(&mut self.members, &mut self.nats, &mut self.redis, &self.home) => return Err(error),
        };
        // The end of a process explains more than what followed from it.
        match done {
            Err(error) => Err(self.ended().unwrap_or(error)),
            done => done,
        }
    }

    /// The process that has ended, if one has.
    pub(crate) fn ended(&mut self) -> Option<CliError> {
        first_end(&mut self.members, &mut self.nats, &mut self.redis, &self.home).now_or_never()
    }

    /// Ends everything: the youngest first, so that workers and coordinators can drain.
    pub(crate) async fn stop(mut self) {
        for mut member in std::mem::take(&mut self.members).into_iter().rev() {
            if let Some(pid) = member.child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            if timeout(STOP_WITHIN, member.child.wait()).await.is_err() {
                tracing::warn!(role = member.role, "did not drain within {STOP_WITHIN:?}; it is killed");
            }
        }
        let Self { nats, redis, leftovers, .. } = self;
        nats.stop().await;
        redis.stop().await;
        drop(leftovers);
    }
}

/// Settings of the user's own environment and folder must not change what is measured.
pub(crate) fn without_own_settings(command: &mut Command, dir: &Path) {
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STEPMILL_") {
            command.env_remove(name);
        }
    }
}

/// Resolves when one of the processes has ended by itself.
async fn first_end(members: &mut [Member], nats: &mut Server, redis: &mut Server, home: &Path) -> CliError {
    let server = |what: String, name: &str| CliError::new(format!("{what}\n{}", tail(&home.join(name).join("log"))));
    let mut ends: Vec<BoxFuture<'_, CliError>> = Vec::with_capacity(members.len() + 2);
    ends.push(nats.ended().map(|what| server(what, "nats")).boxed());
    ends.push(redis.ended().map(|what| server(what, "redis")).boxed());
    for Member { role, child, log } in members {
        ends.push(
            async move {
                let how = match child.wait().await {
                    Ok(status) => status.to_string(),
                    Err(e) => e.to_string(),
                };
                CliError::new(format!("a {role} ended: {how}\n{}", tail(log)))
            }
            .boxed(),
        );
    }
    select_all(ends).await.0
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(TAIL_LINES).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Processes that were started. When it is dropped it waits until they are gone, so that the folder they write into can go.
struct Leftovers(Vec<u32>);

impl Drop for Leftovers {
    fn drop(&mut self) {
        await_gone(&self.0, GONE_WITHIN);
    }
}

/// A process with children of its own. When it is dropped, the process is asked to end, so that it can end them.
pub(crate) struct Gently(Option<u32>);

impl Gently {
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// It has ended.
    pub(crate) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Gently {
    fn drop(&mut self) {
        let Some(pid) = self.0 else { return };
        if let Ok(pid) = i32::try_from(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        await_gone(&[pid], STOP_WITHIN);
    }
}

fn await_gone(pids: &[u32], within: Duration) {
    let until = Instant::now() + within;
    // A process that has ended and was not waited for has no executable any more.
    let runs = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    while pids.iter().any(runs) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}
