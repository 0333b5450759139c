//! `bench report`: runs every workload several times, each beside the floor with the same load, and writes a page. Each is a
//! process of its own, started by the command that the page names.

mod machine;
mod page;
mod plan;
mod sheet;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use self::plan::Entry;
use self::sheet::Sheet;
use super::fleet::{Gently, without_own_settings};
use super::stand::temporary;
use crate::command::Context;
use crate::error::{CliError, FAILED};
use crate::servers::Programs;

const EXAMPLES: &str = "\
Examples:
  stepmill bench report                         docs/benchmarks.md, three rounds, about half an hour
  stepmill bench report --quick --out page.md   small loads, one round
  stepmill bench report --only chain,latency --rounds 5 --out page.md

Nothing else should run on the machine meanwhile. The page says how many cores other processes took.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    /// Small loads; one round unless said
    #[arg(long)]
    quick: bool,
    /// How often everything is run [default: 3, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100), value_name = "N")]
    rounds: Option<u32>,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// The page
    #[arg(long, default_value = "docs/benchmarks.md", value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(context: &Context, args: &ReportArgs) -> Result<(), CliError> {
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let mut entries = plan::entries(args.quick);
    entries.retain(|e| args.only.is_empty() || args.only.iter().any(|name| name == e.name()));
    if entries.is_empty() {
        let all = plan::entries(args.quick);
        let known: Vec<&str> = all.iter().map(Entry::name).collect();
        let known = format!("the workloads are {}", known.join(", "));
        return Err(CliError::usage(format!("there is no workload {}", args.only.join(", ")), known));
    }
    let mut sheet = Sheet::default();
    for round in 1..=rounds {
        for (number, entry) in entries.iter().enumerate() {
            let commands = entry.commands();
            for command in &commands {
                context.out.note(&format!("round {round} of {rounds}: stepmill bench {}", command.join(" ")));
            }
            let mut lines = Vec::new();
            for command in commands {
                lines.push(measure(&command).await);
            }
            sheet.add(number, lines);
        }
    }
    let machine = machine::facts();
    let page = page::write(&entries, &sheet, &machine, rounds, args.quick);
    save(&args.out, &page)?;
    let rows: Vec<Value> = sheet::rows(&entries, &sheet).iter().map(sheet::Row::as_json).collect();
    let failed = sheet.failures();
    context.out.json(&json!({ "page": args.out, "rounds": rounds, "rows": rows, "failed": failed }))?;
    context.out.text(&format!("{} rows in {}", rows.len(), args.out.display()))?;
    for failure in &failed {
        context.out.note(failure);
    }
    if failed.is_empty() { Ok(()) } else { Err(CliError::silent(FAILED)) }
}

/// Runs this binary and reads its line; the error is what it said.
async fn measure(args: &[String]) -> Result<Value, String> {
    let shown = format!("stepmill bench {}", args.join(" "));
    let failed = |what: String| format!("`{shown}` failed: {what}");
    let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let dir = temporary().map_err(|_| failed("no folder".into()))?;
    let mut command = Command::new(program);
    command.arg("bench").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    without_own_settings(&mut command, dir.path());
    if let Ok(programs) = Programs::find() {
        command.env("STEPMILL_NATS_SERVER", programs.nats).env("STEPMILL_REDIS_SERVER", programs.redis);
    }
    let child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let running = Gently::of(&child);
    let output = child.wait_with_output().await.map_err(|e| failed(e.to_string()))?;
    running.ended();
    if !output.status.success() {
        return Err(failed(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| failed(e.to_string()))
}

fn save(path: &Path, page: &str) -> Result<(), CliError> {
    let fail = |e: std::io::Error| CliError::new(format!("cannot write {}: {e}", path.display()));
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    std::fs::write(path, page).map_err(fail)
}
