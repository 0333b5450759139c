//! nats-server and redis-server as our own children: found, configured, started, waited for, stopped. A pid file lets the
//! next start end what a killed parent left behind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::error::CliError;

const START_WITHIN: Duration = Duration::from_secs(15);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(30);
/// Where `deploy/get-nats-server` and `deploy/get-redis-server` put what they fetch.
const TOOLS: &str = ".tools/bin";

/// When a server's write counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Within a second (Redis), within two minutes (NATS).
    EverySecond,
    /// Redis syncs before it answers; NATS stays repairable from it.
    Always,
}

impl Sync {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EverySecond => "everysec",
            Self::Always => "always",
        }
    }
}

/// The two programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) nats: PathBuf,
    pub(crate) redis: PathBuf,
}

impl Programs {
    /// Looks for both: the variables STEPMILL_NATS_SERVER and STEPMILL_REDIS_SERVER, `.tools/bin` of this or a parent
    /// folder, the PATH. The error names what is missing.
    pub(crate) fn find() -> Result<Self, Vec<&'static str>> {
        let nats = find("STEPMILL_NATS_SERVER", &["nats-server"]);
        let redis = find("STEPMILL_REDIS_SERVER", &["redis-server", "valkey-server"]);
        match (nats, redis) {
            (Some(nats), Some(redis)) => Ok(Self { nats, redis }),
            (None, Some(_)) => Err(vec!["nats-server"]),
            (Some(_), None) => Err(vec!["redis-server"]),
            (None, None) => Err(vec!["nats-server", "redis-server"]),
        }
    }
}

fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(PathBuf::from(named)).filter(|p| p.is_file());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let tools = here.ancestors().map(|dir| dir.join(TOOLS));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = tools.chain(std::env::split_paths(&path)).collect();
    folders.iter().flat_map(|dir| names.iter().map(move |name| dir.join(name))).find(|p| p.is_file())
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    pid_file: PathBuf,
    /// How to reach it.
    pub(crate) url: String,
    /// What it says its version is.
    pub(crate) version: String,
}

impl Server {
    /// Its process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Resolves when it ends by itself.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("{} ended: {status}", self.name),
            Err(e) => format!("{} cannot be watched: {e}", self.name),
        }
    }

    /// Asks it to end, and ends it when it does not.
    pub(crate) async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
                tracing::warn!(server = self.name, "did not end within {STOP_WITHIN:?}; it is killed");
                let _ = self.child.kill().await;
            }
        }
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

/// Starts nats-server with its data under `dir`, on the wanted port if that is free.
pub(crate) async fn start_nats(program: &Path, dir: &Path, wanted: Option<u16>) -> Result<Server, CliError> {
    let home = folder(&dir.join("nats"))?;
    let pid_file = home.join("pid");
    // Before the port is chosen: the one that was left behind has it.
    end_leftover(&pid_file, &home).await;
    let port = free_port(wanted)?;
    let config = home.join("nats.conf");
    // The default interval between syncs: promises rest on the Redis commit, the log is repaired from it.
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nserver_name: \"stepmill-{port}\"\nmax_payload: 1MB\n\
         jetstream {{\n  store_dir: {:?}\n  max_file_store: 64GB\n}}\n",
        home.join("data")
    );
    write(&config, &text)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config);
    let child = spawn("nats-server", &mut command, &home, &pid_file)?;
    let url = format!("nats://127.0.0.1:{port}");
    await_ready("nats-server", child, pid_file, url, &home, || nats_version(port)).await
}

/// Starts redis-server with its data under `dir`, on the wanted port if that is free.
pub(crate) async fn start_redis(
    program: &Path,
    dir: &Path,
    wanted: Option<u16>,
    sync: Sync,
) -> Result<Server, CliError> {
    let home = folder(&dir.join("redis"))?;
    let pid_file = home.join("pid");
    end_leftover(&pid_file, &home).await;
    let port = free_port(wanted)?;
    let config = home.join("redis.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {:?}\nappendonly yes\nappendfsync {}\nsave \"\"\nmaxmemory-policy noeviction\n\
         daemonize no\n",
        home,
        sync.as_str()
    );
    write(&config, &text)?;
    let mut command = Command::new(program);
    command.arg(&config);
    let child = spawn("redis-server", &mut command, &home, &pid_file)?;
    let url = format!("redis://127.0.0.1:{port}");
    await_ready("redis-server", child, pid_file, url, &home, || redis_version(port)).await
}

/// A port of this machine that nobody uses: the wanted one, if it is free.
pub(crate) fn free_port(wanted: Option<u16>) -> Result<u16, CliError> {
    let bind =
        |port: u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).and_then(|l| l.local_addr());
    let bound = wanted.map_or_else(|| bind(0), |port| bind(port).or_else(|_| bind(0)));
    bound.map(|a| a.port()).map_err(|e| CliError::new(format!("no free port on 127.0.0.1: {e}")))
}

fn folder(path: &Path) -> Result<PathBuf, CliError> {
    let fail = |e: std::io::Error| {
        CliError::with_help(format!("cannot make {}: {e}", path.display()), "choose another folder")
    };
    std::fs::create_dir_all(path).map_err(fail)?;
    path.canonicalize().map_err(fail)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text).map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))
}

fn spawn(name: &str, command: &mut Command, home: &Path, pid_file: &Path) -> Result<Child, CliError> {
    let log = std::fs::File::create(home.join("log")).and_then(|f| Ok((f.try_clone()?, f)));
    let (out, err) = log.map_err(|e| CliError::new(format!("cannot write {}: {e}", home.join("log").display())))?;
    // A process group of its own: Ctrl-C reaches us alone, and we stop the servers after the coordinator has drained.
    let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true).spawn();
    let child = child.map_err(|e| CliError::with_help(format!("cannot start {name}: {e}"), "is it executable?"))?;
    if let Some(pid) = child.id() {
        write(pid_file, &pid.to_string())?;
    }
    Ok(child)
}

/// Ends the server that a killed parent left running on this folder.
async fn end_leftover(pid_file: &Path, home: &Path) {
    let Some(pid) = std::fs::read_to_string(pid_file).ok().and_then(|t| t.trim().parse::<i32>().ok()) else { return };
    // The number may belong to somebody else by now: only a process that was started with our folder is ours. Redis renames
    // itself, but works in our folder.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let named = String::from_utf8_lossy(&command).contains(&*home.to_string_lossy());
    let inside = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == home);
    if !named && !inside {
        return;
    }
    tracing::info!(pid, folder = %home.display(), "ending a server that an earlier start left behind");
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    for _ in 0..100 {
        if kill(Pid::from_raw(pid), None).is_err() {
            return;
        }
        sleep(POLL).await;
    }
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

async fn await_ready<F, Fut>(
    name: &'static str,
    mut child: Child,
    pid_file: PathBuf,
    url: String,
    home: &Path,
    probe: F,
) -> Result<Server, CliError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<String>>,
{
    let until = Instant::now() + START_WITHIN;
    loop {
        if let Some(version) = timeout(START_WITHIN, probe()).await.ok().flatten() {
            return Ok(Server { name, child, pid_file, url, version });
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() > until {
            let _ = child.kill().await;
            let how = ended.map_or_else(|| format!("is not ready after {START_WITHIN:?}"), |s| format!("ended: {s}"));
            let log = home.join("log");
            let tail = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = tail.lines().rev().take(5).collect();
            let said: Vec<&str> = tail.into_iter().rev().collect();
            return Err(CliError::with_help(
                format!("{name} {how}\n{}", said.join("\n")),
                format!("its whole log is {}", log.display()),
            ));
        }
        sleep(POLL).await;
    }
}

/// The version in the server's greeting; none while it is not there or JetStream is not.
async fn nats_version(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"\n") && greeting.len() < 8192 {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        greeting.extend_from_slice(piece.get(..n)?);
    }
    let text = String::from_utf8(greeting).ok()?;
    let info: serde_json::Value = serde_json::from_str(text.strip_prefix("INFO ")?.trim()).ok()?;
    info.get("jetstream")?.as_bool().filter(|on| *on)?;
    Some(info.get("version")?.as_str()?.to_owned())
}

/// The version that Redis tells; none while it is not there or still loads its data.
async fn redis_version(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.write_all(b"PING\r\nINFO server\r\n").await.ok()?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        answer.extend_from_slice(piece.get(..n)?);
        let text = String::from_utf8_lossy(&answer);
        // `-LOADING`: it reads its data still.
        if text.starts_with('-') {
            return None;
        }
        let line = |key: &str| text.lines().find_map(|l| l.strip_prefix(key).map(str::to_owned));
        if answer.ends_with(b"\r\n\r\n") || text.contains("uptime_in_seconds") {
            return line("valkey_version:").map(|v| format!("valkey {v}")).or_else(|| line("redis_version:"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap().port();
        assert_ne!(free_port(Some(wanted)).unwrap(), wanted);
    }

    #[tokio::test]
    async fn a_foreign_process_with_the_old_number_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(&pid_file, other.id().to_string()).unwrap();
        end_leftover(&pid_file, dir.path()).await;
        assert!(other.try_wait().unwrap().is_none(), "it must still run");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[tokio::test]
    async fn a_leftover_of_ours_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let pid_file = home.join("pid");
        let mut ours = std::process::Command::new("sleep").arg("60").current_dir(&home).spawn().unwrap();
        std::fs::write(&pid_file, ours.id().to_string()).unwrap();
        // The kernel keeps the number until somebody waits for it, so that `kill` with no signal goes on working.
        let waiter = std::thread::spawn(move || ours.wait().unwrap());
        end_leftover(&pid_file, &home).await;
        assert!(!waiter.join().unwrap().success());
    }
}
