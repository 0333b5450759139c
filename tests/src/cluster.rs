//! A whole system of real processes: servers, coordinators and workers, to be killed and started again one by one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stepmill_nats::{Nats, NatsOptions};
use tempfile::TempDir;

use crate::client::JsonClient;
use crate::server::{NatsServer, RedisServer, repository};

/// The `stepmill` binary: `$STEPMILL_BIN`, or the one that was built beside this test.
///
/// # Errors
/// When it is not there; the text says how to build it.
pub fn stepmill_program() -> io::Result<PathBuf> {
    match std::env::var_os("STEPMILL_BIN") {
        Some(given) => Ok(given.into()),
        None => built("stepmill"),
    }
}

/// A binary that was built beside this test.
fn built(name: &str) -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let built = test.ancestors().nth(2).map(|folder| folder.join(name)).filter(|p| p.is_file());
    built.ok_or_else(|| {
        let text = format!("no `{name}` beside the tests: run `cargo build --workspace --bins`, or set STEPMILL_BIN");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `stepmill coordinator`
    Coordinator,
    /// `stepmill worker --noop`
    Worker,
    /// `stepmill worker --pool llm`, with the example's rules in place of a model
    Model,
    /// `support-ticket-worker`, the example's own steps
    Example,
}

/// One of our processes. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// What it is.
    pub role: Role,
    name: String,
    child: Option<Child>,
}

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct ClusterSetup {
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: usize,
    /// Tasks at a time per worker.
    pub slots: usize,
    /// How long the broker remembers the ids of tasks, in milliseconds; as usual unless said.
    pub dedup_window_ms: Option<u64>,
}

impl Default for ClusterSetup {
    fn default() -> Self {
        Self { coordinators: 2, workers: 3, slots: 32, dedup_window_ms: None }
    }
}

/// Servers and processes.
#[derive(Debug)]
pub struct Cluster {
    /// The broker.
    pub nats: NatsServer,
    /// The store.
    pub redis: RedisServer,
    /// Coordinators first, then workers.
    pub processes: Vec<Process>,
    setup: ClusterSetup,
    folder: TempDir,
}

impl Cluster {
    /// Starts servers and processes.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub fn start(setup: ClusterSetup) -> io::Result<Self> {
        let mut cluster = Self {
            nats: NatsServer::start()?,
            redis: RedisServer::start()?,
            processes: Vec::new(),
            folder: tempfile::Builder::new().prefix("stepmill-cluster-").tempdir()?,
            setup,
        };
        let roles = std::iter::repeat_n(Role::Coordinator, cluster.setup.coordinators)
            .chain(std::iter::repeat_n(Role::Worker, cluster.setup.workers));
        for role in roles.collect::<Vec<_>>() {
            cluster.add(role)?;
        }
        Ok(cluster)
    }

    /// Adds a process; gives its place.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add(&mut self, role: Role) -> io::Result<usize> {
        let place = self.processes.len();
        self.processes.push(Process { role, name: format!("{role:?}-{place}").to_lowercase(), child: None });
        self.revive(place)?;
        Ok(place)
    }

    /// Kills a process (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, place: usize) -> io::Result<()> {
        if let Some(mut child) = self.processes[place].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks a process to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When the system refuses, or it ends with another status than 0.
    pub fn terminate(&mut self, place: usize) -> io::Result<()> {
        let Some(mut child) = self.processes[place].child.take() else { return Ok(()) };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
    }

    /// Starts a process again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive(&mut self, place: usize) -> io::Result<()> {
        let process = &self.processes[place];
        let log = File::options().create(true).append(true).open(self.log_of(&process.name))?;
        let nats = self.nats.url();
        let mut command = match process.role {
            Role::Example => Command::new(built("support-ticket-worker")?),
            Role::Coordinator | Role::Worker | Role::Model => Command::new(stepmill_program()?),
        };
        match process.role {
            Role::Coordinator => {
                command.args(["coordinator", "--redis", &self.redis.url(), "--nats", &nats]);
                if let Some(window) = self.setup.dedup_window_ms {
                    command.args(["--dedup-window-ms", &window.to_string()]);
                }
            }
            Role::Worker => {
                let slots = self.setup.slots.to_string();
                command.args(["worker", "--noop", "--pool", "default", "--slots", &slots, "--nats", &nats]);
            }
            Role::Model => {
                command.args(["worker", "--pool", "llm", "--nats", &nats]);
                command.env("STEPMILL_LLM_SCRIPT", repository().join("examples/support-ticket/model.yaml"));
            }
            Role::Example => {
                command.arg(&nats).arg(self.folder.path().join("orders.redb"));
            }
        }
        command
            .current_dir(self.folder.path())
            .env("STEPMILL_SIDE_FILE", self.side_file())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.processes[place].child = Some(command.spawn()?);
        Ok(())
    }

    /// The resident memory of a process, in kB, while it runs.
    #[must_use]
    pub fn resident_kb(&self, place: usize) -> Option<u64> {
        let pid = self.processes.get(place)?.child.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// The file to which the step `random` appends.
    #[must_use]
    pub fn side_file(&self) -> PathBuf {
        self.folder.path().join("side.jsonl")
    }

    /// Everything that our processes have said, for a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for process in &self.processes {
            let text = std::fs::read_to_string(self.log_of(&process.name)).unwrap_or_default();
            let skipped = text.lines().count().saturating_sub(60);
            let last: Vec<&str> = text.lines().skip(skipped).collect();
            all.push_str(&format!("--- {} (last lines)\n{}\n", process.name, last.join("\n")));
        }
        all
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Empties Redis.
    ///
    /// # Errors
    /// When it does not say that it did.
    pub fn flush_redis(&self) -> io::Result<()> {
        let address = self.redis.url().replace("redis://", "");
        let address = address.trim_end_matches('/');
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"FLUSHALL\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        if &answer == b"+OK\r\n" { Ok(()) } else { Err(io::Error::other("FLUSHALL was refused")) }
    }

    /// Where JetStream keeps one stream.
    #[must_use]
    pub fn stream_folder(&self, stream: &str) -> PathBuf {
        self.nats.folder().join("jetstream/jetstream/$G/streams").join(stream)
    }

    /// A connection to the broker, as anybody could make one.
    ///
    /// # Panics
    /// When there is none to be had.
    #[expect(clippy::expect_used, reason = "a test without its broker has failed")]
    pub async fn connect(&self) -> Nats {
        Nats::connect(NatsOptions::new(&self.nats.url(), "test")).await.expect("a connection to nats-server")
    }

    /// A client that knows only NATS and JSON.
    ///
    /// # Panics
    /// When the broker cannot be reached.
    pub async fn client(&self) -> JsonClient {
        JsonClient::new(self.connect().await)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            if let Some(mut child) = process.child.take() {
                child.kill().ok();
                child.wait().ok();
            }
        }
    }
}

/// Copies a folder with everything in it.
///
/// # Errors
/// As the file system says.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
