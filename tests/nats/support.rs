//! What the NATS tests share: a server with our streams, and names.

use stepmill_nats::{Nats, NatsOptions, StreamOptions};
use stepmill_protocol::{Namespace, PoolName, RunId, WorkflowName};
use stepmill_tests::server::{NatsServer, NatsSetup};

/// A server, a connection to it, and the streams that every installation has.
pub(crate) struct Fixture {
    pub(crate) server: NatsServer,
    pub(crate) nats: Nats,
    pub(crate) options: StreamOptions,
}

pub(crate) async fn fixture() -> Fixture {
    fixture_with(StreamOptions::default()).await
}

pub(crate) async fn fixture_with(options: StreamOptions) -> Fixture {
    let server = NatsServer::start_with(&NatsSetup::default()).unwrap();
    let nats = connect(&server).await;
    nats.ensure_streams(&options).await.unwrap();
    Fixture { server, nats, options }
}

pub(crate) async fn connect(server: &NatsServer) -> Nats {
    Nats::connect(NatsOptions::new(&server.url(), "test")).await.unwrap()
}

pub(crate) fn pool() -> PoolName {
    PoolName::new("default").unwrap()
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new("default").unwrap()
}

pub(crate) fn workflow() -> WorkflowName {
    WorkflowName::new("ticket").unwrap()
}

pub(crate) fn run(n: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(n))
}
