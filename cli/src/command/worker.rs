//! `worker`: runs the built-in steps for one or more pools.

use std::net::SocketAddr;
use std::path::PathBuf;

use stepmill_protocol::PoolName;
use stepmill_worker::Health;
use stepmill_worker::builtin::Runnable;

use super::Context;
use crate::config::Flags;
use crate::error::CliError;
use crate::model::Fallback;
use crate::{assemble, runs, shutdown};

const EXAMPLES: &str = "\
Examples:
  stepmill worker                                     pools `default` and `llm`
  stepmill worker --pool llm --slots 64 --nats nats://broker:4222
  stepmill worker --pool agent --grace 600 --http 0.0.0.0:8080
  stepmill worker --pool scripts --allow-run script --allow-run shell

A worker knows only NATS. Steps of your own are run by a program of yours that links the crate `stepmill-worker`; it \
joins the same pools. Ctrl-C or SIGTERM: running steps are finished within the grace time, the rest is given back.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WorkerArgs {
    /// A pool to serve; may be repeated [default: default, llm] [env: STEPMILL_POOLS, with commas between]
    #[arg(long = "pool", value_name = "NAME")]
    pools: Vec<PoolName>,
    /// Tasks at a time, per pool [default: 16] [env: STEPMILL_SLOTS]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Seconds that running steps may take after the worker was asked to stop [default: 30] [env: STEPMILL_GRACE_S]
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u64>,
    /// Serve /live, /ready and /metrics over HTTP here [env: STEPMILL_HTTP]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Threads [default: one for every two cores that it may use] [env: STEPMILL_THREADS]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where NATS is [default: nats://127.0.0.1:4222] [env: STEPMILL_NATS_URL]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// A folder with one file per secret, beside the variables STEPMILL_SECRET_<NAME>
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// A YAML file with providers of language models, their prices and timeouts [env: STEPMILL_MODELS]
    #[arg(long, value_name = "FILE")]
    models: Option<PathBuf>,
    /// Let definitions start this on this machine: script, shell, mcp (servers over stdio); may be repeated [default:
    /// nothing] [env: STEPMILL_ALLOW_RUN, with commas between]
    #[arg(long, value_name = "KIND")]
    allow_run: Vec<Runnable>,
    /// Serve the steps of benches and tests instead: noop, sleep, random
    #[arg(long, hide = true)]
    noop: bool,
}

impl WorkerArgs {
    pub(crate) fn flags(&self, flags: &mut Flags) {
        flags.set("pools", Some(&self.pools).filter(|p| !p.is_empty()));
        flags.set("slots", self.slots.as_ref());
        flags.set("grace_s", self.grace.as_ref());
        flags.set("http", self.http.as_ref());
        flags.set("threads", self.threads.as_ref());
        flags.set("nats_url", self.nats.as_ref());
        flags.set("secrets_dir", self.secrets_dir.as_ref());
        flags.set("models", self.models.as_ref());
        flags.set("allow_run", runs::flag(&self.allow_run).as_ref());
    }
}

pub(crate) async fn run(context: &Context, args: WorkerArgs) -> Result<(), CliError> {
    let stop = shutdown::on_signal()?;
    let settings = context.settings();
    let steps = if args.noop { assemble::Steps::Probe } else { assemble::Steps::BuiltIn(Fallback::None) };
    let health = settings.http.map(serve).transpose()?;
    let link = tokio::select! {
        link = assemble::nats_link(settings, "stepmill-worker") => link?,
        () = stop.cancelled() => return Ok(()),
    };
    assemble::workers(&link, settings, steps, health.as_ref(), stop)?.wait().await
}

fn serve(address: SocketAddr) -> Result<Health, CliError> {
    let health = Health::serve(address).map_err(|e| CliError::new(format!("cannot listen on {address}: {e}")))?;
    tracing::info!(address = %health.address(), "serving /live, /ready and /metrics");
    Ok(health)
}
