//! A process and all that it starts: begun with limits, watched, and ended as one group.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use stepmill_protocol::Problem;
use stepmill_protocol::problem::Standard;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::rules::RunRules;
use crate::builtin::endpoint::wrong;
use crate::failure::Failure;
use crate::limit;

/// Sets the limits and becomes the program: no core dumps, and so much memory. A shell does it because a limit that is set
/// from outside would come too late for what the program has started by then.
const LIMITS: &str = "ulimit -c 0; ulimit -d \"$1\" 2>/dev/null; shift; exec \"$@\"";
/// What of the worker's own environment a program sees. The rest may hold secrets.
const PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"];

/// What is to be started.
pub(in crate::builtin) struct Program {
    /// For people and errors.
    pub(in crate::builtin) what: String,
    pub(in crate::builtin) file: PathBuf,
    pub(in crate::builtin) arguments: Vec<String>,
    pub(in crate::builtin) environment: Vec<(String, String)>,
    pub(in crate::builtin) stdin: Option<String>,
    /// Where it works; removed afterwards.
    pub(in crate::builtin) folder: TempDir,
}

impl Program {
    /// A program in a folder of its own.
    pub(in crate::builtin) fn new(what: String, file: impl Into<PathBuf>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("stepmill-run-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|e| Failure::retryable(format!("{what} has no folder to work in: {e}")))?;
        let file = file.into();
        Ok(Self { what, file, arguments: Vec::new(), environment: Vec::new(), stdin: None, folder })
    }

    /// Refuses what no system starts.
    fn check(&self) -> Result<(), Failure> {
        let pairs = self.environment.iter().flat_map(|(name, value)| [name, value]);
        let texts = || self.arguments.iter().chain(pairs.clone());
        if texts().any(|text| text.contains('\0')) {
            return Err(wrong(format!(
                "{}: an argument or variable has a zero byte in it, which no program can get",
                self.what
            )));
        }
        let (bytes, max) = (texts().map(String::len).sum::<usize>(), limit::RUN_ARGUMENT_BYTES_MAX);
        if bytes > max {
            return Err(wrong(format!(
                "{}: arguments and environment have {bytes} bytes, {max} are allowed (RUN_ARGUMENT_BYTES_MAX); use `stdin`",
                self.what
            )));
        }
        Ok(())
    }

    fn command(&self, rules: &RunRules) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LIMITS, "sh", &(rules.memory_mib.saturating_mul(1024)).to_string()]);
        command.arg(&self.file).args(&self.arguments).env_clear();
        command.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("TMPDIR", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).process_group(0).kill_on_drop(true);
        command
    }

    /// Starts it; how its output goes is the caller's business.
    pub(in crate::builtin) fn start(
        &self,
        rules: &RunRules,
        streams: impl FnOnce(&mut Command),
    ) -> Result<(Child, Group), Failure> {
        self.check()?;
        hide_worker();
        let mut command = self.command(rules);
        streams(&mut command);
        let failed = |why: String| Failure::retryable(format!("{} cannot be started: {why}", self.what));
        let child = command.spawn().map_err(|e| {
            let failure = failed(e.to_string());
            // The system has its own limits, and they will be the same another time.
            let for_good = matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::ArgumentListTooLong);
            if for_good { failure.into_terminal() } else { failure }
        })?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.map(Group::new).ok_or_else(|| failed("it has no process id".into()))?;
        Ok((child, group))
    }
}

/// Keeps processes of the same user from reading the worker's memory and environment in `/proc`.
fn hide_worker() {
    #[cfg(target_os = "linux")]
    {
        static DONE: std::sync::Once = std::sync::Once::new();
        DONE.call_once(|| {
            if let Err(error) = nix::sys::prctl::set_dumpable(false) {
                tracing::warn!(%error, "processes of this worker can read its environment");
            }
        });
    }
}

/// A process group; dropping it ends all of its processes.
#[derive(Debug)]
pub(in crate::builtin) struct Group {
    leader: Pid,
    ended: AtomicBool,
}

impl Group {
    fn new(leader: i32) -> Self {
        Self { leader: Pid::from_raw(leader), ended: AtomicBool::new(false) }
    }

    /// Ends all of its processes.
    pub(in crate::builtin) fn end(&self) {
        // Once only: later the number may be that of another group.
        if !self.ended.swap(true, Ordering::Relaxed) {
            // A group without processes is no error.
            let _ = killpg(self.leader, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a process ended.
pub(super) struct Ended {
    /// Its exit code; 128 and the signal's number where a signal ended it, as shells have it.
    pub(super) code: i32,
    pub(super) outputs: Outputs,
}

/// What it wrote.
pub(super) struct Outputs {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program to its end.
pub(super) async fn run(rules: &RunRules, mut program: Program) -> Result<Ended, Failure> {
    let stdin = program.stdin.take();
    let (mut child, group) = program.start(rules, |command| {
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    })?;
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let over = CancellationToken::new();
    let all = async {
        let ended = async {
            let status = child.wait().await;
            // What it has left behind goes with it, and lets go of the pipes.
            group.end();
            over.cancel();
            status
        };
        let (status, stdout, stderr, ()) = tokio::join!(
            ended,
            read(stdout, rules.output_bytes, &group, &over),
            read(stderr, rules.output_bytes, &group, &over),
            async {
                tokio::select! {
                    () = feed(input, stdin) => {}
                    () = over.cancelled() => {}
                }
            },
        );
        (status, stdout, stderr)
    };
    let Ok((status, stdout, stderr)) = tokio::time::timeout(rules.timeout, all).await else {
        group.end();
        let text = format!(
            "{} ran longer than the {} s that this worker allows (run_timeout_s)",
            program.what,
            rules.timeout.as_secs()
        );
        return Err(Failure::new(Problem::standard(Standard::Timeout, text), false));
    };
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        let text = format!(
            "{} wrote more than the {} bytes that this worker allows (run_output_kib)",
            program.what, rules.output_bytes
        );
        return Err(Failure::new(Problem::standard(Standard::Runtime, text), false));
    };
    let status = status.map_err(|e| Failure::retryable(format!("{} was lost: {e}", program.what)))?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Ended { code, outputs: Outputs { stdout, stderr } })
}

/// Starts a program and lets it go: its end is not waited for, but its limits hold, and it ends with the worker.
pub(super) fn detach(rules: &RunRules, mut program: Program) -> Result<(), Failure> {
    let room = Arc::clone(&rules.detached).try_acquire_owned().map_err(|_| {
        let max = limit::RUN_DETACHED_MAX;
        Failure::retryable(format!(
            "{}: this worker has {max} processes that nobody waits for already (RUN_DETACHED_MAX)",
            program.what
        ))
    })?;
    let stdin = program.stdin.take();
    let (mut child, group) = program.start(rules, |command| {
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::null()).stderr(Stdio::null());
    })?;
    let input = child.stdin.take();
    let timeout = rules.timeout;
    tokio::spawn(async move {
        let all = async { tokio::join!(child.wait(), feed(input, stdin)).0 };
        match tokio::time::timeout(timeout, all).await {
            Ok(Ok(status)) => {
                tracing::debug!(what = program.what, %status, "a process that nobody waits for has ended")
            }
            Ok(Err(error)) => tracing::warn!(what = program.what, %error, "a process that nobody waits for was lost"),
            Err(_) => tracing::warn!(what = program.what, ?timeout, "a process that nobody waits for ran too long"),
        }
        group.end();
        drop((program.folder, room));
    });
    Ok(())
}

/// All that a stream gives, as text; none when it is more than `max` bytes, which ends the group. Who has left the group may hold the
/// stream open: it is read on for a moment when the program is over, no longer.
async fn read(
    stream: Option<impl AsyncRead + Unpin>,
    max: usize,
    group: &Group,
    over: &CancellationToken,
) -> Option<String> {
    let mut bytes = Vec::new();
    let mut stream = stream?.take(max as u64 + 1);
    let patience = async {
        over.cancelled().await;
        tokio::time::sleep(limit::RUN_PIPE_GRACE).await;
    };
    tokio::select! {
        // A stream that breaks has given what it had.
        _ = stream.read_to_end(&mut bytes) => {}
        () = patience => {}
    }
    if bytes.len() > max {
        group.end();
        return None;
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

async fn feed(stream: Option<ChildStdin>, text: Option<String>) {
    if let (Some(mut stream), Some(text)) = (stream, text) {
        // Whoever does not read its input to the end need not.
        let _ = stream.write_all(text.as_bytes()).await;
    }
}
