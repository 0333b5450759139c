//! Settings of a coordinator, with the defaults that suit production.

use std::net::SocketAddr;
use std::time::Duration;

/// Settings of a coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Its name among coordinators; must be unique. Host name and process id unless said.
    pub name: String,
    /// Partitions of a new installation; an existing one keeps its number.
    pub partitions: u16,
    /// A lease that is not renewed for this long is free. Takeover takes this plus [`CoordinatorConfig::lease_beat`] at most.
    pub lease_ttl: Duration,
    /// How often leases are renewed and free partitions looked for.
    pub lease_beat: Duration,
    /// How often dispatches are compared with the task queues.
    pub sweep_every: Duration,
    /// A finished run leaves the store after this.
    pub retention: Duration,
    /// How long the log keeps records; live runs are copied into it before half of this has passed.
    pub log_age: Duration,
    /// Runs kept in memory per partition.
    pub cached_runs_max: usize,
    /// Tell life-cycle events to whoever wants them.
    pub life_events: bool,
    /// Where to serve the API and health checks over HTTP; nowhere unless said.
    pub http: Option<SocketAddr>,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            name: format!("coordinator-{}", uuid::Uuid::new_v4().simple()),
            partitions: 8,
            lease_ttl: Duration::from_millis(1_500),
            lease_beat: Duration::from_millis(300),
            sweep_every: Duration::from_secs(2),
            retention: Duration::from_secs(7 * 24 * 3600),
            log_age: Duration::from_secs(30 * 24 * 3600),
            cached_runs_max: 4_000,
            life_events: true,
            http: None,
        }
    }
}
