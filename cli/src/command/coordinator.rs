//! `coordinator`: advances runs, on NATS and Redis.

use std::net::SocketAddr;
use std::time::Duration;

use super::Context;
use crate::assemble::Tuning;
use crate::config::{DurabilityProfile, Flags};
use crate::error::CliError;
use crate::{assemble, shutdown};

const EXAMPLES: &str = "\
Examples:
  stepmill coordinator
  stepmill coordinator --nats nats://broker:4222 --redis redis://store:6379 --profile single

Any number of coordinators can run on the same servers: they share the partitions among them, and one that is lost is \
replaced within three seconds. Ctrl-C or SIGTERM hands the partitions over and ends.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CoordinatorArgs {
    /// Threads [default: one for every two cores that it may use] [env: STEPMILL_THREADS]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where NATS is [default: nats://127.0.0.1:4222] [env: STEPMILL_NATS_URL]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Where Redis is [default: redis://127.0.0.1:6379] [env: STEPMILL_REDIS_URL]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Partitions of a new installation; an existing one keeps its number [default: 8] [env: STEPMILL_PARTITIONS]
    #[arg(long, value_name = "N")]
    partitions: Option<u16>,
    /// What the servers must promise; refuses to run when they promise less [default: dev] [env: STEPMILL_PROFILE]
    #[arg(long, value_enum, value_name = "PROFILE")]
    profile: Option<DurabilityProfile>,
    /// Tell life-cycle events to whoever subscribes [default: true] [env: STEPMILL_LIFE_EVENTS]
    #[arg(long, value_name = "BOOL")]
    life_events: Option<bool>,
    /// Serve the API, /live, /ready and /metrics over HTTP here [env: STEPMILL_HTTP]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Its name among coordinators [default: one of its own]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Milliseconds that the broker remembers ids of tasks, for tests
    #[arg(long, hide = true, value_name = "MS")]
    dedup_window_ms: Option<u64>,
}

impl CoordinatorArgs {
    pub(crate) fn flags(&self, flags: &mut Flags) {
        flags.set("threads", self.threads.as_ref());
        flags.set("nats_url", self.nats.as_ref());
        flags.set("redis_url", self.redis.as_ref());
        flags.set("partitions", self.partitions.as_ref());
        flags.set("profile", self.profile.as_ref());
        flags.set("life_events", self.life_events.as_ref());
        flags.set("http", self.http.as_ref());
    }
}

pub(crate) async fn run(context: &Context, args: CoordinatorArgs) -> Result<(), CliError> {
    let stop = shutdown::on_signal()?;
    let tuning = Tuning { name: args.name, dedup_window: args.dedup_window_ms.map(Duration::from_millis) };
    let started = assemble::coordinator_on_servers(context.settings(), tuning);
    let running = tokio::select! {
        started = started => started?,
        () = stop.cancelled() => return Ok(()),
    };
    stop.cancelled().await;
    running.drain().await;
    Ok(())
}
