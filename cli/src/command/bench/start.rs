//! `bench start`: from the start of `stepmill dev` to the end of the first run.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::fleet::{Gently, tail, without_own_settings};
use super::flow::Flow;
use super::line::Line;
use super::load::Load;
use super::stand::{Facts, temporary};
use super::times::Times;
use crate::command::Context;
use crate::config::Settings;
use crate::connect;
use crate::error::CliError;
use crate::servers::Programs;

const EXAMPLES: &str = "\
Examples:
  stepmill bench start --json
  stepmill bench start --embedded --rounds 10 --json

Each time in a new folder: `stepmill dev` is started, a workflow of one no-op step registered, and one run of it awaited.";
const MEANING: &str = "p50_ms and p99_ms: from the start of the process to the end of its first run";
const STARTS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StartArgs {
    /// How often
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    rounds: u32,
    /// Without servers
    #[arg(long)]
    embedded: bool,
}

pub(crate) async fn run(context: &Context, args: &StartArgs) -> Result<(), CliError> {
    let embedded = args.embedded || Programs::find().is_err();
    let mut times = Vec::new();
    for _ in 0..args.rounds {
        times.push(once(context, embedded).await?);
    }
    let wall = times.iter().sum();
    let facts = Facts {
        adapters: if embedded { "embedded" } else { "nats+redis" },
        profile: if embedded { "file" } else { "everysec" },
        versions: json!({ "stepmill": env!("CARGO_PKG_VERSION") }),
        settings: json!({}),
    };
    Line::new("start", facts, (args.rounds as usize, 1), MEANING).wall(wall).times(&Times(times), 1).print(context)
}

async fn once(context: &Context, embedded: bool) -> Result<Duration, CliError> {
    let dir = temporary()?;
    let log = dir.path().join("log");
    let begun = Instant::now();
    let mut child = spawn(dir.path(), &log, embedded)?;
    let running = Gently::of(&child);
    let ran = timeout(STARTS_WITHIN, first_run(context, &mut child)).await;
    let took = begun.elapsed();
    drop(running);
    match ran {
        Ok(Ok(())) => Ok(took),
        Ok(Err(error)) if tail(&log).is_empty() => Err(error),
        Ok(Err(_)) | Err(_) => Err(CliError::new(format!("`stepmill dev` ran nothing:\n{}", tail(&log)))),
    }
}

fn spawn(dir: &Path, log: &Path, embedded: bool) -> Result<Child, CliError> {
    let fail = |e: std::io::Error| CliError::new(format!("cannot start `stepmill dev`: {e}"));
    let mut command = Command::new(std::env::current_exe().map_err(fail)?);
    command.args(["dev", "--noop", "--json", "--log", "warn", "--dir", "data"]);
    if embedded {
        command.arg("--embedded");
    }
    let programs = Programs::find().ok();
    without_own_settings(&mut command, dir);
    if let Some(programs) = programs {
        command.env("STEPMILL_NATS_SERVER", programs.nats).env("STEPMILL_REDIS_SERVER", programs.redis);
    }
    let log = std::fs::File::create(log).map_err(fail)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
    command.spawn().map_err(fail)
}

async fn first_run(context: &Context, child: &mut Child) -> Result<(), CliError> {
    let out = child.stdout.take().ok_or_else(|| CliError::new("`stepmill dev` has no stdout"))?;
    let line = BufReader::new(out).lines().next_line().await.ok().flatten().unwrap_or_default();
    let facts: Value = serde_json::from_str(&line).unwrap_or_default();
    let url = facts["http"].as_str().ok_or_else(|| CliError::new("`stepmill dev` did not say where it is"))?;
    let settings = Settings { api_url: Some(url.to_owned()), ..context.settings().clone() };
    let client = connect::client(&settings).await?;
    let flow = Flow::chain(&client, 1)?;
    flow.define(&client).await?;
    let load = Load::of(&flow, 1);
    load.drive(&client, 1, &indicatif::ProgressBar::hidden()).await.map(drop)
}
