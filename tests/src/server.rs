//! Real nats-server and redis-server as child processes: a free port and a folder of their own, ready when handed out,
//! killed on drop by their process id, and to be stopped, killed and restarted in between.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take to answer its first question, or to stop.
const SERVER_WITHIN: Duration = Duration::from_secs(20);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often another free port is tried when somebody else took the one we found.
const PORT_TRIES: usize = 5;
/// The oldest nats-server that `stepmill-nats` accepts.
const NATS_FLOOR: (u64, u64, u64) = (2, 12, 7);

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// A child process that serves on one port out of one folder.
#[derive(Debug)]
struct Served {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
    /// What a client must send and what the answer begins with once the server is ready.
    hello: (&'static [u8], &'static [u8]),
}

impl Served {
    fn start(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let deadline = Instant::now() + SERVER_WITHIN;
        loop {
            if self.answers() {
                return Ok(());
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let why =
                    ended.map_or_else(|| "did not answer in time".into(), |status| format!("ended with {status}"));
                self.kill()?;
                return Err(io::Error::other(format!("{} {why}:\n{}", self.program.display(), self.log())));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn answers(&self) -> bool {
        let (question, want) = self.hello;
        let ask = || -> io::Result<bool> {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(question)?;
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got)?;
            Ok(got == want)
        };
        ask().unwrap_or(false)
    }

    fn stop(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if child.try_wait()?.is_none() {
            signal(child, Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + SERVER_WITHIN;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.kill()?;
                return Err(io::Error::other(format!("{} did not stop on SIGTERM", self.program.display())));
            }
            sleep(LOOK_EVERY);
        }
        self.child = None;
        Ok(())
    }

    fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            complain(&self.program, &error);
        }
    }
}

/// A drop cannot fail; the test's own output is the only place left.
#[allow(clippy::print_stderr, reason = "test harness")]
fn complain(program: &Path, error: &io::Error) {
    eprintln!("cannot kill {}: {error}", program.display());
}

fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Starts on free ports until one works: between finding a port and using it somebody else may take it.
fn on_free_port(make: impl Fn(u16) -> io::Result<Served>) -> io::Result<Served> {
    let mut last = io::Error::other("no port was tried");
    for _ in 0..PORT_TRIES {
        let mut served = make(free_port()?)?;
        match served.start() {
            Ok(()) => return Ok(served),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// What both kinds of server can do.
macro_rules! server_methods {
    ($server:ident) => {
        impl $server {
            /// What the server has said so far.
            #[must_use]
            pub fn log(&self) -> String {
                self.served.log()
            }

            /// The process id, while it runs.
            #[must_use]
            pub fn pid(&self) -> Option<u32> {
                self.served.child.as_ref().map(Child::id)
            }

            /// Stops it in good order (SIGTERM) and waits for that.
            ///
            /// # Errors
            /// When it does not stop in time (it is killed then).
            pub fn stop(&mut self) -> io::Result<()> {
                self.served.stop()
            }

            /// Kills it (SIGKILL).
            ///
            /// # Errors
            /// When the system refuses.
            pub fn kill(&mut self) -> io::Result<()> {
                self.served.kill()
            }

            /// Starts it again on the same port and folder; stops it first where it still runs.
            ///
            /// # Errors
            /// When it does not stop or start.
            pub fn restart(&mut self) -> io::Result<()> {
                self.served.stop()?;
                self.served.start()
            }
        }
    };
}

server_methods!(NatsServer);
server_methods!(RedisServer);

/// How a nats-server is set up.
#[derive(Clone, Debug)]
pub struct NatsSetup {
    /// The largest message in bytes.
    pub max_payload: usize,
    /// How often JetStream syncs to disk (`always`, `1s` …); the server's default unless said.
    pub sync_interval: Option<String>,
    /// Whether JetStream is on.
    pub jetstream: bool,
    /// More lines for the configuration file, for instance accounts.
    pub more: String,
}

impl Default for NatsSetup {
    fn default() -> Self {
        Self { max_payload: 1024 * 1024, sync_interval: None, jetstream: true, more: String::new() }
    }
}

/// A running nats-server.
#[derive(Debug)]
pub struct NatsServer {
    served: Served,
}

impl NatsServer {
    /// Starts one with JetStream and the usual limits.
    ///
    /// # Errors
    /// When no nats-server is found (the text says which command installs one) or it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&NatsSetup::default())
    }

    /// Starts one.
    ///
    /// # Errors
    /// See [`NatsServer::start`].
    pub fn start_with(setup: &NatsSetup) -> io::Result<Self> {
        let program = nats_server_program()?;
        let served = on_free_port(|port| {
            let folder = tempfile::Builder::new().prefix("stepmill-nats-").tempdir()?;
            let config = folder.path().join("nats.conf");
            std::fs::write(&config, nats_config(setup, port, folder.path()))?;
            let arguments = vec!["--config".into(), config.display().to_string()];
            let program = program.clone();
            Ok(Served { program, arguments, port, folder, child: None, hello: (b"", b"INFO ") })
        })?;
        Ok(Self { served })
    }

    /// Starts one from a configuration file for containers, on another port, with its data in a folder of its own in place of `/data`.
    ///
    /// # Errors
    /// See [`NatsServer::start`].
    pub fn start_from(config: &Path) -> io::Result<Self> {
        let program = nats_server_program()?;
        let given = std::fs::read_to_string(config)?;
        let served = on_free_port(|port| {
            let folder = tempfile::Builder::new().prefix("stepmill-nats-").tempdir()?;
            let place = |line: &str| match line.split_once(':') {
                Some(("listen", _)) => format!("listen: \"127.0.0.1:{port}\"\n"),
                Some(("http", _)) => String::new(),
                _ => format!("{}\n", line.replace("/data", &folder.path().display().to_string())),
            };
            let config = folder.path().join("nats.conf");
            std::fs::write(&config, given.lines().map(place).collect::<String>())?;
            let arguments = vec!["--config".into(), config.display().to_string()];
            let program = program.clone();
            Ok(Served { program, arguments, port, folder, child: None, hello: (b"", b"INFO ") })
        })?;
        Ok(Self { served })
    }

    /// `nats://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.served.port)
    }

    /// The folder with JetStream's files (`jetstream/`), the configuration and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.served.folder.path()
    }
}

fn nats_config(setup: &NatsSetup, port: u16, folder: &Path) -> String {
    let mut text = format!("host: 127.0.0.1\nport: {port}\nmax_payload: {}\n", setup.max_payload);
    if setup.jetstream {
        let sync = setup.sync_interval.as_ref().map(|s| format!("  sync_interval: {s}\n")).unwrap_or_default();
        let store = folder.join("jetstream");
        text.push_str(&format!("jetstream {{\n  store_dir: {:?}\n{sync}}}\n", store.display().to_string()));
    }
    text.push_str(&setup.more);
    text
}

/// The nats-server to use: `$STEPMILL_NATS_SERVER`, then `.tools/bin/nats-server` of this repository, then the PATH.
///
/// # Errors
/// When there is none that is new enough; the text says which command installs one.
pub fn nats_server_program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("STEPMILL_NATS_SERVER") {
        return Ok(path.into());
    }
    let fetched = repository().join(".tools/bin/nats-server");
    if fetched.is_file() {
        return Ok(fetched);
    }
    match on_path("nats-server") {
        Some(found) if nats_version(&found).is_some_and(|v| v >= NATS_FLOOR) => Ok(found),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no nats-server >= 2.12.7 found: run deploy/get-nats-server (or set STEPMILL_NATS_SERVER to one)",
        )),
    }
}

fn nats_version(program: &Path) -> Option<(u64, u64, u64)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().rsplit('v').next()?.split(['.', '-']).map(str::parse::<u64>);
    let mut next = || numbers.next().and_then(Result::ok);
    Some((next()?, next()?, next()?))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// When Redis syncs its append-only file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisSync {
    /// Before each answer.
    #[default]
    Always,
    /// Once a second.
    EverySecond,
}

/// A running redis-server.
#[derive(Debug)]
pub struct RedisServer {
    served: Served,
}

impl RedisServer {
    /// Starts one that syncs before each answer.
    ///
    /// # Errors
    /// When no redis-server is found (the text says which command installs one) or it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(RedisSync::Always, &[])
    }

    /// Starts one with more arguments, for instance `["--maxmemory", "64mb"]`.
    ///
    /// # Errors
    /// See [`RedisServer::start`].
    pub fn start_with(sync: RedisSync, more: &[&str]) -> io::Result<Self> {
        let program = redis_server_program()?;
        let fsync = match sync {
            RedisSync::Always => "always",
            RedisSync::EverySecond => "everysec",
        };
        let served = on_free_port(|port| {
            let folder = tempfile::Builder::new().prefix("stepmill-redis-").tempdir()?;
            let mut arguments: Vec<String> =
                ["--bind", "127.0.0.1", "--port", &port.to_string()].map(Into::into).into();
            arguments.extend(["--dir".into(), folder.path().display().to_string()]);
            arguments.extend(["--appendonly", "yes", "--appendfsync", fsync, "--save", ""].map(Into::into));
            arguments.extend(["--maxmemory-policy", "noeviction"].map(Into::into));
            arguments.extend(more.iter().map(|&a| a.to_owned()));
            let hello = (b"PING\r\n".as_slice(), b"+PONG".as_slice());
            Ok(Served { program: program.clone(), arguments, port, folder, child: None, hello })
        })?;
        Ok(Self { served })
    }

    /// Starts one from a configuration file for containers, on another port, with its data in a folder of its own in place of `/data`,
    /// and more arguments.
    ///
    /// # Errors
    /// See [`RedisServer::start`].
    pub fn start_from(config: &Path, more: &[&str]) -> io::Result<Self> {
        let program = redis_server_program()?;
        let given = std::fs::read_to_string(config)?;
        let served = on_free_port(|port| {
            let folder = tempfile::Builder::new().prefix("stepmill-redis-").tempdir()?;
            let config = folder.path().join("redis.conf");
            std::fs::write(&config, given.replace("dir /data", &format!("dir {}", folder.path().display())))?;
            let mut arguments = vec![config.display().to_string()];
            arguments.extend(["--bind", "127.0.0.1", "--port", &port.to_string()].map(Into::into));
            arguments.extend(more.iter().map(|&a| a.to_owned()));
            let hello = (b"PING\r\n".as_slice(), b"+PONG".as_slice());
            Ok(Served { program: program.clone(), arguments, port, folder, child: None, hello })
        })?;
        Ok(Self { served })
    }

    /// `redis://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.served.port)
    }

    /// The folder with its append-only file and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.served.folder.path()
    }
}

/// The redis-server (or Valkey) to use: `$STEPMILL_REDIS_SERVER`, then `.tools/bin/redis-server`, then the PATH.
///
/// # Errors
/// When there is none; the text says which command installs one.
pub fn redis_server_program() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("STEPMILL_REDIS_SERVER") {
        return Ok(path.into());
    }
    let fetched = repository().join(".tools/bin/redis-server");
    if fetched.is_file() {
        return Ok(fetched);
    }
    on_path("redis-server").or_else(|| on_path("valkey-server")).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no redis-server or valkey-server found: run deploy/get-redis-server (or set STEPMILL_REDIS_SERVER to one)",
        )
    })
}
