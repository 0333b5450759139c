//! A worker: its builder and its run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stepmill_protocol::link::WorkerLink;
use stepmill_protocol::{PoolName, StepKind};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{Settings, WorkerError, default_name};
use crate::counters::Counters;
use crate::handler::{AnyHandler, Handler, Typed};
use crate::health::Health;
use crate::heartbeat::{self, InFlight};
use crate::measures::Measures;
use crate::registry::Registry;
use crate::retry::{Growing, RetrySchedule};
use crate::runner::Runner;
use crate::secret::Secrets;
use crate::{limit, pool};

/// Takes the tasks of one pool and runs their handlers.
pub struct Worker {
    link: Arc<dyn WorkerLink>,
    registry: Registry,
    settings: Settings,
    measures: Arc<Measures>,
    /// Served while the worker is.
    _health: Option<Health>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("settings", &self.settings).field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

impl Worker {
    /// Begins a worker that reaches the system over `link`.
    #[must_use]
    pub fn builder(link: Arc<dyn WorkerLink>) -> WorkerBuilder {
        WorkerBuilder {
            link,
            pool: "default".into(),
            slots: 16,
            name: default_name(),
            grace: Duration::from_secs(30),
            fetch_wait: limit::FETCH_WAIT,
            secrets: Secrets::from_env(None),
            health: None,
            steps: Vec::new(),
        }
    }

    /// Its numbers; keep them before [`Worker::run`] takes the worker.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.measures.counters)
    }

    /// The kinds of steps that it serves.
    #[must_use]
    pub fn kinds(&self) -> Vec<StepKind> {
        self.registry.kinds()
    }

    /// Works until `shutdown` resolves, then stops taking tasks, lets the running ones finish within the grace time and
    /// gives the rest back. Dropping the future gives everything back at once.
    ///
    /// # Errors
    /// [`WorkerError`] when the pool cannot be joined for good, or the heartbeat thread cannot be started.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), WorkerError> {
        let stop = CancellationToken::new();
        let drained = CancellationToken::new();
        let silent = CancellationToken::new();
        let _guards = (drained.clone().drop_guard(), silent.clone().drop_guard());
        let kinds = self.registry.kinds();
        let runner = Arc::new(Runner {
            link: self.link,
            registry: self.registry,
            kinds,
            measures: self.measures,
            in_flight: Arc::new(InFlight::default()),
            drained,
            settling: Semaphore::new(self.settings.slots * limit::SETTLING_PER_SLOT_MAX),
            settings: self.settings,
        });
        let work = async {
            if join(&runner, &stop).await? {
                runner.measures.vitals.joined();
                let (link, in_flight) = (Arc::clone(&runner.link), Arc::clone(&runner.in_flight));
                heartbeat::start(link, Arc::clone(&runner.measures), in_flight, silent.clone())
                    .map_err(WorkerError::Heartbeat)?;
                pool::pull(Arc::clone(&runner), stop.clone()).await;
            }
            Ok(())
        };
        let watch = async {
            shutdown.await;
            runner.measures.vitals.stopping();
            stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = work => result,
            () = watch => Ok(()),
        }
    }
}

/// Joins the pool, however long that takes; false when the worker was stopped before.
async fn join(runner: &Runner, stop: &CancellationToken) -> Result<bool, WorkerError> {
    let mut schedule = Growing::link();
    let pool = &runner.settings.pool;
    loop {
        let joined = tokio::select! {
            () = stop.cancelled() => return Ok(false),
            joined = runner.link.join(pool, &runner.kinds) => joined,
        };
        match joined {
            Ok(()) => {
                tracing::info!(%pool, slots = runner.settings.slots, kinds = ?runner.kinds, "worker ready");
                return Ok(true);
            }
            Err(error) if error.retryable => {
                let pause = schedule.next_delay();
                tracing::warn!(%pool, %error, ?pause, "cannot join the pool; trying again");
                tokio::select! {
                    () = stop.cancelled() => return Ok(false),
                    () = tokio::time::sleep(pause) => {}
                }
            }
            Err(error) => return Err(WorkerError::Join { pool: pool.clone(), reason: error.message }),
        }
    }
}

/// Puts a worker together. Mistakes are told by [`WorkerBuilder::build`] and [`WorkerBuilder::run`].
pub struct WorkerBuilder {
    link: Arc<dyn WorkerLink>,
    pool: String,
    slots: usize,
    name: String,
    grace: Duration,
    fetch_wait: Duration,
    secrets: Secrets,
    health: Option<Health>,
    steps: Vec<(String, Arc<dyn AnyHandler>)>,
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder").field("pool", &self.pool).field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl WorkerBuilder {
    /// The pool whose tasks it takes; `default` unless said.
    #[must_use]
    pub fn pool(mut self, pool: impl Into<String>) -> Self {
        self.pool = pool.into();
        self
    }

    /// How many tasks it works on at a time; 16 unless said.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Its name in reports; host and process id unless said.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long running tasks may take after the shutdown was asked for; 30 s unless said.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long one fetch waits for a first task; 2 s unless said.
    #[must_use]
    pub fn fetch_wait(mut self, wait: Duration) -> Self {
        self.fetch_wait = wait;
        self
    }

    /// Where it finds its secrets; the environment unless said.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Where its health and its metrics are shown; nowhere unless said.
    #[must_use]
    pub fn health(mut self, health: &Health) -> Self {
        self.health = Some(health.clone());
        self
    }

    /// Registers a handler for the steps that definitions write as `call: <kind>`.
    #[must_use]
    pub fn step<In, Out>(mut self, kind: impl Into<String>, handler: impl Handler<In, Out>) -> Self
    where
        In: DeserializeOwned + Send + 'static,
        Out: Serialize + Send + 'static,
    {
        self.steps.push((kind.into(), Arc::new(Typed::new(handler))));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`WorkerError`] for a name of the wrong form, a step registered twice, no step, or an impossible number of slots.
    pub fn build(self) -> Result<Worker, WorkerError> {
        if self.slots == 0 || self.slots > limit::SLOTS_MAX {
            return Err(WorkerError::Slots { given: self.slots });
        }
        if self.steps.is_empty() {
            return Err(WorkerError::NoSteps);
        }
        let mut registry = Registry::default();
        for (kind, handler) in self.steps {
            registry.add(StepKind::new(&kind)?, handler)?;
        }
        let settings = Settings {
            pool: PoolName::new(&self.pool)?,
            slots: self.slots,
            name: self.name,
            grace: self.grace,
            fetch_wait: self.fetch_wait,
            secrets: self.secrets,
        };
        let (pool, kinds) = (settings.pool.clone(), registry.kinds());
        let measures = Arc::new(Measures::new(pool, settings.slots, settings.fetch_wait, kinds));
        if let Some(health) = &self.health {
            health.watch(&measures);
        }
        Ok(Worker { link: self.link, registry, settings, measures, _health: self.health })
    }

    /// [`WorkerBuilder::build`] and [`Worker::run`] in one.
    ///
    /// # Errors
    /// See both.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), WorkerError> {
        self.build()?.run(shutdown).await
    }
}
