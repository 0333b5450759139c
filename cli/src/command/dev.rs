//! `dev`: a durable system for development in one folder. With nats-server and redis-server as its own children where they
//! are installed, so that other people's workers can connect; on the embedded adapters where they are not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use stepmill_coordinator::Running;
use stepmill_protocol::Client;
use stepmill_protocol::link::WorkerLink;
use stepmill_worker::builtin::Runnable;

use super::{Context, validate};
use crate::assemble::{self, Steps, Storage, Tuning};
use crate::config::{Flags, Settings};
use crate::error::{CliError, read_file};
use crate::model::Fallback;
use crate::servers::{self, Programs, Server, Sync};
use crate::{connect, model, runs, shutdown};

const NATS_PORT: u16 = 4222;
const REDIS_PORT: u16 = 6379;
const HTTP_PORT: u16 = 8080;
/// The data of the embedded adapters, and the folder in which redis-server works, within the data folder.
const EMBEDDED_FILE: &str = "stepmill.redb";
const REDIS_FOLDER: &str = "redis";
/// What stands in for a model that nobody has configured.
const RULES: Fallback = Fallback::Rules(stepmill_example_support_ticket::MODEL_RULES);
const EXAMPLES: &str = "\
Examples:
  stepmill dev                                     data in ./.stepmill
  stepmill dev --definitions flows/                register what is there first
  stepmill dev --embedded                          no servers, one process
  stepmill dev --allow-run shell                   definitions may use `run: shell` here
  stepmill dev --nats nats://broker:4222 --redis redis://store:6379   servers that run already

It runs a coordinator and a worker with the built-in steps (http, openapi, mcp, script, shell, llm). Ctrl-C stops \
everything; what was under way goes on at the next start.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevArgs {
    /// Where data is kept [default: .stepmill] [env: STEPMILL_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use this NATS instead of starting one
    #[arg(long, value_name = "URL", conflicts_with = "embedded", requires = "redis")]
    nats: Option<String>,
    /// Use this Redis instead of starting one
    #[arg(long, value_name = "URL", conflicts_with = "embedded", requires = "nats")]
    redis: Option<String>,
    /// Definitions to register: files, or folders of .yaml, .yml and .json files
    #[arg(long, value_name = "PATH", num_args = 1..)]
    definitions: Vec<PathBuf>,
    /// Serve the API over HTTP here [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Let definitions start this on this machine: script, shell, mcp (servers over stdio); may be repeated
    #[arg(long, value_name = "KIND")]
    allow_run: Vec<Runnable>,
    /// Start no servers, even where they are installed
    #[arg(long)]
    embedded: bool,
    /// Serve the steps of benches and tests instead: noop, sleep, random
    #[arg(long, hide = true)]
    noop: bool,
}

impl DevArgs {
    pub(crate) fn flags(&self, flags: &mut Flags) {
        flags.set("data_dir", self.dir.as_ref());
        flags.set("nats_url", self.nats.as_ref());
        flags.set("redis_url", self.redis.as_ref());
        flags.set("http", self.http.as_ref());
        flags.set("allow_run", runs::flag(&self.allow_run).as_ref());
    }
}

/// What runs, and how it is reached.
struct System {
    running: Running,
    link: Arc<dyn WorkerLink>,
    client: Client,
    servers: Option<(Server, Server)>,
    /// In order, for people and machines.
    facts: Vec<(&'static str, String)>,
    /// What the client commands need in their environment, where the defaults do not lead here.
    variable: Option<(&'static str, String)>,
}

pub(crate) async fn run(context: &Context, args: DevArgs) -> Result<(), CliError> {
    let stop = shutdown::on_signal()?;
    // What is wrong with a definition is said before anything starts.
    let definitions = read_definitions(&args.definitions)?;
    let mut settings = context.settings().clone();
    settings.http = Some(http_address(settings.http)?);
    let (_lock, dir) = lock(&settings.data_dir)?;
    let mut system = start(&args, &settings, &dir).await?;
    let steps = if args.noop { Steps::Probe } else { Steps::BuiltIn(RULES) };
    let workers = assemble::workers(&system.link, &settings, steps, None, stop.clone())?;
    for (path, source) in &definitions {
        let answer = system.client.define(source).await?;
        tracing::info!(file = %path.display(), workflow = %answer.workflow, version = %answer.version, "definition registered");
    }
    announce(context, &settings, &system)?;
    let ended = {
        let wait = workers.wait();
        tokio::pin!(wait);
        tokio::select! {
            () = stop.cancelled() => wait.await,
            result = &mut wait => result,
            what = first_end(system.servers.as_mut()) => {
                stop.cancel();
                let log = dir.display();
                Err(CliError::with_help(what, format!("its log is under {log}; start `stepmill dev` again")))
            }
        }
    };
    system.running.drain().await;
    if let Some((nats, redis)) = system.servers {
        nats.stop().await;
        redis.stop().await;
    }
    ended
}

async fn start(args: &DevArgs, settings: &Settings, dir: &Path) -> Result<System, CliError> {
    if args.embedded {
        return start_embedded(settings, dir, "asked for with --embedded").await;
    }
    if args.nats.is_some() {
        let facts = vec![("NATS", settings.nats_url.clone()), ("Redis", settings.redis_url.clone())];
        return start_on(settings, None, facts).await;
    }
    match Programs::find() {
        Err(missing) => {
            let why = format!(
                "{} not found on the PATH, so workers of other processes cannot connect",
                missing.join(" and ")
            );
            start_embedded(settings, dir, &why).await
        }
        Ok(programs) => {
            let nats = servers::start_nats(&programs.nats, dir, Some(NATS_PORT)).await?;
            let redis = servers::start_redis(&programs.redis, dir, Some(REDIS_PORT), Sync::EverySecond).await?;
            if dir.join(EMBEDDED_FILE).exists() {
                tracing::warn!(
                    "this folder also holds runs of the embedded adapters; `stepmill dev --embedded` works on those"
                );
            }
            let facts = vec![
                ("NATS", format!("{} (nats-server {})", nats.url, nats.version)),
                ("Redis", format!("{} ({})", redis.url, redis.version)),
                ("data", dir.display().to_string()),
            ];
            let urls = Settings { nats_url: nats.url.clone(), redis_url: redis.url.clone(), ..settings.clone() };
            start_on(&urls, Some((nats, redis)), facts).await
        }
    }
}

async fn start_on(
    settings: &Settings,
    servers: Option<(Server, Server)>,
    mut facts: Vec<(&'static str, String)>,
) -> Result<System, CliError> {
    let mut running = assemble::coordinator_on_servers(settings, Tuning::default()).await?;
    running.ready().await;
    let link = assemble::nats_link(settings, "stepmill-dev-worker").await?;
    let settings = Settings { api_url: None, ..settings.clone() };
    let client = connect::client(&settings).await?;
    facts.insert(0, ("adapters", "NATS and Redis".into()));
    let standard = format!("nats://127.0.0.1:{NATS_PORT}");
    let variable = (settings.nats_url != standard).then(|| ("STEPMILL_NATS_URL", settings.nats_url.clone()));
    Ok(System { running, link, client, servers, facts, variable })
}

async fn start_embedded(settings: &Settings, dir: &Path, why: &str) -> Result<System, CliError> {
    if dir.join(REDIS_FOLDER).exists() {
        tracing::warn!(
            "this folder also holds runs of NATS and Redis; start with both servers on the PATH to go on with those"
        );
    }
    let file = dir.join(EMBEDDED_FILE);
    let data = file.display().to_string();
    let system = assemble::embedded(&Storage::File(file), Some(settings.partitions), settings.http).await?;
    let client = system.client(settings);
    let facts = vec![("adapters", format!("embedded, in this process ({why})")), ("data", data)];
    let variable = system.running.http.map(|address| ("STEPMILL_API_URL", format!("http://{address}")));
    Ok(System { running: system.running, link: system.link, client, servers: None, facts, variable })
}

fn announce(context: &Context, settings: &Settings, system: &System) -> Result<(), CliError> {
    let mut facts = system.facts.clone();
    if let Some(address) = system.running.http {
        facts.push(("HTTP", format!("http://{address}")));
    }
    facts.push(("steps", format!("http, openapi, mcp, script, shell, llm ({})", model::in_use(settings, RULES)?)));
    let object: serde_json::Map<String, Value> =
        facts.iter().map(|(name, value)| (name.to_lowercase(), json!(value))).collect();
    context.out.json(&object)?;
    let mut lines = vec!["stepmill dev is ready".to_owned()];
    lines.extend(facts.iter().map(|(name, value)| format!("  {name:<9} {value}")));
    lines.push("Try, in another terminal:".into());
    if let Some((name, value)) = &system.variable {
        lines.push(format!("  export {name}={value}"));
    }
    lines.push("  stepmill validate flow.yaml && stepmill define flow.yaml".into());
    lines.push("  stepmill submit <workflow> --input '{}' --follow".into());
    lines.push("  stepmill list".into());
    lines.push("Ctrl-C stops it; the data stays.".into());
    context.out.text(&lines.join("\n"))
}

async fn first_end(servers: Option<&mut (Server, Server)>) -> String {
    match servers {
        None => std::future::pending().await,
        Some((nats, redis)) => tokio::select! {
            what = nats.ended() => what,
            what = redis.ended() => what,
        },
    }
}

fn http_address(wanted: Option<SocketAddr>) -> Result<SocketAddr, CliError> {
    match wanted {
        Some(address) => Ok(address),
        None => Ok(SocketAddr::from(([127, 0, 0, 1], servers::free_port(Some(HTTP_PORT))?))),
    }
}

/// Makes the folder and makes sure that nobody else works in it; the lock ends with the process.
fn lock(dir: &Path) -> Result<(std::fs::File, PathBuf), CliError> {
    let fail = |e: std::io::Error| {
        CliError::with_help(format!("cannot use {}: {e}", dir.display()), "choose another folder with --dir")
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    let dir = dir.canonicalize().map_err(fail)?;
    let file = std::fs::File::create(dir.join("lock")).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok((file, dir)),
        Err(std::fs::TryLockError::WouldBlock) => Err(CliError::with_help(
            format!("another `stepmill dev` works in {}", dir.display()),
            "stop that one, or choose another folder with --dir",
        )),
        Err(std::fs::TryLockError::Error(e)) => Err(fail(e)),
    }
}

/// Reads and checks all definitions, those of folders in the order of their names.
fn read_definitions(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|e| {
            CliError::usage(format!("cannot read {}: {e}", path.display()), "check the path and the permissions")
        })?;
        let mut inside: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
        inside.retain(|p| p.extension().is_some_and(|x| x == "yaml" || x == "yml" || x == "json"));
        inside.sort();
        files.extend(inside);
    }
    let read = |path: PathBuf| {
        let source = read_file(&path)?;
        validate::check(&path, &source)?;
        Ok((path, source))
    };
    files.into_iter().map(read).collect()
}
