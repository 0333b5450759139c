//! The two sets of adapters, each with the steps that come with every worker. Every scenario and document gets a system of
//! its own: the kit registers different texts under one name and version, which one system refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepmill::Local;
use stepmill_coordinator::store::redis::{RedisOptions, RedisStore};
use stepmill_coordinator::{Coordinator, CoordinatorConfig, Running};
use stepmill_nats::{Nats, NatsApiCaller, NatsOptions, NatsWorkerLink, StreamOptions};
use stepmill_protocol::{Client, Namespace};
use stepmill_worker::builtin::{RunRules, Runnable};
use stepmill_worker::{CancellationToken, Secrets, Worker, WorkerBuilder, WorkerError, builtin};
use tokio::task::JoinHandle;

use crate::server::{NatsServer, RedisServer, nats_server_program, redis_server_program};

/// The secret of the examples whose authentication policy is one.
const POLICY: &str = r#"{
    "authority": "http://keycloak/realms/fake-authority",
    "grant": "client_credentials",
    "client": { "id": "workflow-runtime-id", "secret": "workflow-runtime-secret" }
}"#;

/// Where a system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adapter {
    Embedded,
    Servers,
}

/// A whole system, empty at first.
pub(super) struct System {
    kind: Kind,
}

enum Kind {
    Embedded(Local),
    Servers(Box<Servers>),
}

struct Servers {
    client: Arc<NatsApiCaller>,
    stop: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
    running: Running,
    _nats: NatsServer,
    _redis: RedisServer,
}

impl Adapter {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Servers => "nats+redis",
        }
    }

    /// Those that can be had here, and why not the others.
    pub(super) fn all() -> Vec<Result<Self, String>> {
        let servers = nats_server_program().and_then(|_| redis_server_program());
        let servers = servers.map(|_| Self::Servers).map_err(|e| format!("{}: {e}", Self::Servers.name()));
        vec![Ok(Self::Embedded), servers]
    }

    pub(super) async fn start(self) -> Result<System, String> {
        let kind = match self {
            Self::Embedded => {
                let worker = |w| steps(w).unwrap_or_else(|e| panic!("the built-in steps: {e}"));
                let local = Local::builder().worker(worker).start().await;
                Kind::Embedded(local.map_err(|e| e.to_string())?)
            }
            Self::Servers => Kind::Servers(Box::new(servers().await?)),
        };
        Ok(System { kind })
    }
}

async fn servers() -> Result<Servers, String> {
    let (nats, redis) = (NatsServer::start().map_err(text)?, RedisServer::start().map_err(text)?);
    let store = RedisStore::connect(&redis.url(), RedisOptions::default()).await.map_err(text)?;
    let connection = Nats::connect(NatsOptions::new(&nats.url(), "conformance")).await.map_err(text)?;
    let ports = stepmill_coordinator::queue::nats::ports(connection.clone(), StreamOptions::default(), Arc::new(store));
    let config = CoordinatorConfig { partitions: 1, ..CoordinatorConfig::default() };
    let mut running = Coordinator::start(config, ports.await.map_err(text)?).await.map_err(text)?;
    running.ready().await;
    let worker = steps(Worker::builder(Arc::new(NatsWorkerLink::new(connection.clone()))))?.build().map_err(text)?;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone().cancelled_owned()));
    let client = Arc::new(NatsApiCaller::new(connection));
    Ok(Servers { client, stop, worker, running, _nats: nats, _redis: redis })
}

/// What every worker of ours serves, where it may start everything, with the one secret that the examples name.
fn steps(worker: WorkerBuilder) -> Result<WorkerBuilder, String> {
    let rules = Runnable::ALL.into_iter().fold(RunRules::default(), RunRules::allow);
    let secrets = BTreeMap::from([(Secrets::variable("mySecret"), POLICY.to_owned())]);
    builtin::register_calls(worker.secrets(Secrets::of(secrets)), rules).map_err(text)
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

impl System {
    pub(super) fn client(&self, namespace: Namespace) -> Client {
        match &self.kind {
            Kind::Embedded(local) => local.client_of(namespace),
            Kind::Servers(servers) => Client::new(Arc::clone(&servers.client) as _, namespace),
        }
    }

    pub(super) async fn stop(self) -> Result<(), String> {
        match self.kind {
            Kind::Embedded(local) => local.stop().await.map_err(text),
            Kind::Servers(servers) => {
                let Servers { stop, worker, running, .. } = *servers;
                stop.cancel();
                worker.await.map_err(text)?.map_err(text)?;
                running.drain().await;
                Ok(())
            }
        }
    }
}
