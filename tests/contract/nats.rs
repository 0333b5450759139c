//! The queues over a real nats-server, one for each case, so that none sees what another left behind.

use std::sync::Arc;
use std::time::Duration;

use stepmill_coordinator::queue::nats::{NatsArchive, NatsBus, NatsEvents, NatsLog, NatsTasks};
use stepmill_nats::{Nats, NatsApiCaller, NatsOptions, NatsWorkerLink, StreamOptions};
use stepmill_protocol::{DeadLetter, codec};
use stepmill_tests::server::NatsServer;

use crate::queue::{Queues, Wanted};

async fn queues(wanted: Wanted) -> Queues {
    let server = NatsServer::start().unwrap();
    let connect = async |name| Nats::connect(NatsOptions::new(&server.url(), name)).await.unwrap();
    let (nats, worker, client) = (connect("coordinator").await, connect("worker").await, connect("client").await);
    let options = StreamOptions {
        ack_wait: wanted.ack_wait,
        tasks_dedup_window: wanted.dedup_window.max(Duration::from_millis(100)),
        ..StreamOptions::default()
    };
    nats.ensure_streams(&options).await.unwrap();
    let letters = client.clone();
    Queues {
        log: Arc::new(NatsLog::new(nats.clone())),
        tasks: Arc::new(NatsTasks::serve(nats.clone(), options).await.unwrap()),
        link: Arc::new(NatsWorkerLink::new(worker)),
        events: Arc::new(NatsEvents::new(nats.clone())),
        archive: Arc::new(NatsArchive::new(nats.clone())),
        bus: Arc::new(NatsBus::new(nats)),
        caller: Arc::new(NatsApiCaller::new(client)),
        buried: Box::new(move || Box::pin(dead_letters(letters.clone()))),
        _keep: Box::new(server),
    }
}

/// Everything in `SM_DEAD`, read as anybody may.
async fn dead_letters(nats: Nats) -> Vec<DeadLetter> {
    let mut all = Vec::new();
    for seq in 1.. {
        let question = format!("{{\"seq\":{seq}}}");
        let body = nats.request("$JS.API.DIRECT.GET.SM_DEAD", question.into_bytes(), Duration::from_secs(5)).await;
        let body = body.unwrap();
        if body.is_empty() {
            break;
        }
        all.push(codec::unpack(&body).unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queues_keep_the_contract_on_nats() {
    crate::queue::all(async |_, wanted| queues(wanted).await).await;
}
