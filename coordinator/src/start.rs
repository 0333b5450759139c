//! Starting and draining a coordinator.

use std::sync::Arc;
use std::time::Duration;

use stepmill_protocol::{PoolName, Problem};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::clock::{Clock, SystemClock};
use crate::config::CoordinatorConfig;
use crate::health::Health;
use crate::measures::Measures;
use crate::plans::Plans;
use crate::port::bus::Guard;
use crate::port::queue::QueueError;
use crate::port::store::StoreError;
use crate::shared::{Ports, Shared};
use crate::vitals::Vitals;
use crate::{http, intake, lease};

/// Pools whose queues exist from the start, so that workers can join before the first task.
const STANDARD_POOLS: [&str; 3] = ["default", "llm", "agent"];

/// How long each part may take to end: calls that wait for a run are not waited for.
const PART_WITHIN: Duration = Duration::from_secs(5);

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log or the queues.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The API.
    #[error("the API cannot be served: {0}")]
    Api(Problem),
    /// HTTP.
    #[error("cannot listen on {address}: {reason}")]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        reason: String,
    },
}

/// A coordinator.
#[derive(Debug)]
pub struct Coordinator;

/// A coordinator that works. Dropping it stops it at once, as a crash would; [`Running::drain`] stops it in order.
pub struct Running {
    /// In the order in which they are stopped: what comes in first, the owners last.
    parts: Vec<(CancellationToken, JoinHandle<()>)>,
    api: Option<Guard>,
    owned: watch::Receiver<usize>,
    /// Where HTTP is served, when it is.
    pub http: Option<std::net::SocketAddr>,
    partitions: u16,
}

impl Coordinator {
    /// Starts a coordinator: takes part in sharing the partitions, serves the API.
    ///
    /// # Errors
    /// [`StartError`] when a server cannot be reached or an address cannot be bound.
    pub async fn start(config: CoordinatorConfig, ports: Ports) -> Result<Running, StartError> {
        Self::start_with_clock(config, ports, Arc::new(SystemClock)).await
    }

    /// The same with a clock of the caller's.
    ///
    /// # Errors
    /// See [`Coordinator::start`].
    pub async fn start_with_clock(
        config: CoordinatorConfig,
        ports: Ports,
        clock: Arc<dyn Clock>,
    ) -> Result<Running, StartError> {
        let partitions = ports.store.partitions(config.partitions).await?;
        for pool in STANDARD_POOLS.iter().filter_map(|p| PoolName::new(p).ok()) {
            ports.tasks.ensure(&pool).await?;
        }
        let plans = Plans::new(ports.store.clone(), ports.archive.clone());
        let (measures, vitals) = (Measures::default(), Vitals::new(partitions));
        let shared = Arc::new(Shared { ports, config, clock, plans, partitions, measures, vitals });
        let (ready, owned) = watch::channel(0);
        let api = Api::new(shared.clone());
        let guard = shared.ports.bus.serve_api(api.clone()).await.map_err(StartError::Api)?;
        let mut parts = Vec::new();
        if let Some(jobs) = shared.ports.jobs.clone() {
            let stop = CancellationToken::new();
            parts.push((stop.clone(), tokio::spawn(intake::run(shared.clone(), jobs, stop))));
        }
        let mut http = None;
        if let Some(address) = shared.config.http {
            let stop = CancellationToken::new();
            let (bound, task) = http::serve(address, api, Health::new(shared.clone(), owned.clone()), stop.clone())
                .await
                .map_err(|e| StartError::Http { address, reason: e.to_string() })?;
            http = Some(bound);
            parts.push((stop, task));
        }
        let stop = CancellationToken::new();
        parts.push((stop.clone(), tokio::spawn(lease::keep(shared.clone(), stop, ready))));
        Ok(Running { parts, api: Some(guard), owned, http, partitions })
    }
}

impl Running {
    /// Waits until this coordinator owns at least one partition.
    pub async fn ready(&mut self) {
        self.owned.wait_for(|n| *n > 0).await.ok();
    }

    /// Partitions owned now, of how many.
    #[must_use]
    pub fn owned(&self) -> (usize, u16) {
        (*self.owned.borrow(), self.partitions)
    }

    /// Stops in order: takes nothing new, finishes each batch under way, gives the partitions back.
    pub async fn drain(mut self) {
        self.api.take();
        for (stop, mut task) in std::mem::take(&mut self.parts) {
            stop.cancel();
            match tokio::time::timeout(PART_WITHIN, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a part ended badly while draining"),
                Err(_) => task.abort(),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (stop, task) in &self.parts {
            stop.cancel();
            task.abort();
        }
    }
}
