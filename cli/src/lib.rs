//! Stepmill runs workflows durably. This package is the `stepmill` binary with every role, and a library for those who
//! write workflows and steps in Rust: [`Local`] runs a coordinator and the user's own worker in one process.

mod args;
mod assemble;
mod command;
mod config;
mod connect;
mod definitions;
mod error;
mod follow;
mod local;
mod logging;
mod model;
mod output;
mod probe;
mod render;
mod runs;
mod servers;
mod shutdown;
mod tickets;
mod usage;
mod when;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

pub use local::{Local, LocalBuilder, LocalError};
pub use stepmill_protocol::{Client, Problem, RunId, Value, WorkflowName};
/// Tests of definitions, in virtual time.
pub use stepmill_testing as testing;
/// The SDK for steps.
pub use stepmill_worker as worker;

use crate::args::Cli;
use crate::command::Context;
use crate::config::Flags;
use crate::error::CliError;
use crate::output::Output;

/// The whole of the binary.
#[doc(hidden)]
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let out = Output::new(cli.global.json);
    match start(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error);
            ExitCode::from(error.code())
        }
    }
}

/// Help, the version, or a command line that is wrong: said by clap to people, as an object to machines.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let wrong = error.use_stderr();
    if wrong && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let help: Vec<&str> = lines.map(str::trim).collect();
        Output::new(true).error(&CliError::usage(message, help.join("; ")));
    } else if error.print().is_err() {
        return ExitCode::from(error::FAILED);
    }
    ExitCode::from(if wrong { error::USAGE } else { 0 })
}

/// One thread is a scheduler of another kind: it takes tasks in the order in which they became ready, so that a connection writes
/// once for all who had something to send, and not after the first of them.
fn runtime_of(threads: Option<usize>) -> tokio::runtime::Builder {
    if threads == Some(1) {
        return tokio::runtime::Builder::new_current_thread();
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        runtime.worker_threads(threads);
    }
    runtime
}

fn start(cli: Cli, out: Output) -> Result<(), CliError> {
    let mut flags = Flags::default();
    flags.set("log", cli.global.log.as_ref());
    flags.set("log_format", cli.global.log_format.as_ref());
    cli.command.flags(&mut flags);
    let file = cli.global.config.or_else(|| std::env::var_os("STEPMILL_CONFIG").map(Into::into));
    let loaded = config::load(file.as_deref(), flags)?;
    let is_server = cli.command.is_server();
    logging::start(&loaded.settings, is_server)?;
    let threads = cli.command.is_one_role().then(|| loaded.settings.server_threads());
    let runtime = runtime_of(threads).enable_all().build();
    let runtime = runtime.map_err(|e| CliError::new(format!("cannot start threads: {e}")))?;
    let context = Context { loaded, out };
    let ended = runtime.block_on(async {
        let work = command::run(&context, cli.command);
        if is_server {
            // Servers drain: they listen for signals themselves.
            return work.await;
        }
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(CliError::silent(error::INTERRUPTED)),
        }
    });
    // A read of stdin cannot be called off; nobody waits for it.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}
