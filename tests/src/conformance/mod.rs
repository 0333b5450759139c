//! Runs the standard's conformance kit as it is, and its example documents, on every adapter that can be had here.
//!
//! The kit calls hosts of the internet over HTTPS. None of its files is edited for that: the program starts itself again
//! with a proxy and a certificate authority of its own in the environment ([`intercept`]), so that the steps, built as
//! they are shipped, reach local stand-ins ([`hosts`]) under the names that the files give.

mod adapter;
mod attempt;
mod documents;
mod hosts;
mod intercept;
mod kit;
mod report;
mod scene;
mod stand_in;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use adapter::Adapter;
use report::Report;

/// Set for the inner process, which runs behind the proxy.
const INSIDE: &str = "STEPMILL_CONFORMANCE_INSIDE";

/// Speaks the protocol over stdio and knows the tool that an example calls.
const MCP_SERVER: &str = include_str!("../../../worker/tests/mcp_server.py");

const HELP: &str = "\
Runs the conformance kit and the example documents of the Open Workflow DSL.

Usage: conformance <FOLDER> [--json]

  FOLDER    holds ctk/features, examples and invalid
  --json    prints one JSON object instead of a table

Runs on the embedded adapters and, where nats-server and redis-server are found, on NATS and Redis.
Ends with status 1 when anything failed, 2 when it could not begin.

Example: conformance ../shared/corpora/open-workflow --json
";

/// What was asked for.
struct Asked {
    folder: PathBuf,
    json: bool,
}

/// The whole of the program.
#[must_use]
pub fn main() -> ExitCode {
    let Some(asked) = Asked::read(std::env::args().skip(1)) else {
        say(HELP);
        return ExitCode::from(2);
    };
    let ended = if std::env::var_os(INSIDE).is_some() { inside(&asked) } else { outside() };
    match ended {
        Ok(code) => code,
        Err(reason) => {
            complain(&reason);
            ExitCode::from(2)
        }
    }
}

impl Asked {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (flags, folders): (Vec<String>, Vec<String>) = arguments.partition(|a| a.starts_with('-'));
        let json = flags.iter().any(|f| f == "--json");
        match (folders.as_slice(), flags.len() == usize::from(json)) {
            ([folder], true) => Some(Self { folder: folder.into(), json }),
            _ => None,
        }
    }
}

/// Starts the stand-ins, then this program again behind them.
fn outside() -> Result<ExitCode, String> {
    let runtime = runtime()?;
    let folder = tempfile::Builder::new().prefix("stepmill-conformance-").tempdir().map_err(|e| e.to_string())?;
    let authority = folder.path().join("authority.pem");
    let proxy = runtime.block_on(intercept::start(&authority)).map_err(|e| format!("the stand-ins: {e}"))?;
    let path = programs(&folder.path().join("bin")).map_err(|e| format!("the stand-ins: {e}"))?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let status = Command::new(program)
        .args(std::env::args().skip(1))
        .env(INSIDE, "1")
        .env("HTTP_PROXY", format!("http://{proxy}"))
        .env("http_proxy", format!("http://{proxy}"))
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("SSL_CERT_FILE", authority)
        .env("PATH", path)
        .status()
        .map_err(|e| format!("cannot start itself again: {e}"))?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// Puts the one program that the examples start and few machines have into a folder: `npx`, which here is a small MCP server.
/// Gives the search path that finds it first.
fn programs(folder: &Path) -> std::io::Result<OsString> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(folder)?;
    let npx = folder.join("npx");
    std::fs::write(&npx, format!("#!/usr/bin/env python3\n{MCP_SERVER}"))?;
    std::fs::set_permissions(&npx, std::fs::Permissions::from_mode(0o755))?;
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others));
    std::env::join_paths(all).map_err(std::io::Error::other)
}

fn inside(asked: &Asked) -> Result<ExitCode, String> {
    let features = asked.folder.join("ctk/features");
    if !features.is_dir() {
        return Err(format!("{} is not there; name the folder that holds ctk/features", features.display()));
    }
    let examples = asked.folder.join("examples");
    let mut report = Report::default();
    runtime()?.block_on(async {
        let mut adapters = Vec::new();
        for found in Adapter::all() {
            match found {
                Ok(adapter) => adapters.push((adapter, kit::run(&features, adapter).await)),
                Err(absent) => report.skipped.push(absent),
            }
        }
        // Two examples do nothing but wait: the adapters wait together.
        let runs = adapters.iter().map(|(adapter, _)| documents::run(&examples, *adapter));
        let runs = futures::future::try_join_all(runs).await?;
        for ((adapter, outcomes), runs) in adapters.into_iter().zip(runs) {
            report.adapter(adapter.name(), outcomes, runs);
        }
        Ok::<(), String>(())
    })?;
    report.documents(documents::read(&examples)?, documents::read(&asked.folder.join("invalid"))?);
    say(&if asked.json { report.json() } else { report.table() });
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("cannot start threads: {e}"))
}

#[allow(clippy::print_stdout, reason = "this is what the program is asked for")]
fn say(text: &str) {
    println!("{}", text.trim_end());
}

#[allow(clippy::print_stderr, reason = "a program that cannot begin says why")]
fn complain(text: &str) {
    eprintln!("{text}");
}
