//! What a worker may do with the rights of its own pool, and what it may not.

use std::time::Duration;

use stepmill_nats::subject::{LogSubject, LogWriter};
use stepmill_nats::{
    Append, Auth, Log, Nats, NatsError, NatsOptions, NatsWorkerLink, StreamOptions, TaskMessage, TaskQueues,
};
use stepmill_protocol::link::WorkerLink;
use stepmill_protocol::{CommandId, Event, LogRecord, PartitionNo, Pass, PoolName, Priority, StepKind, Visit};
use stepmill_tests::server::{NatsServer, NatsSetup};

use crate::support::{pool, run};

/// The rights of `docs/protocol.md` for a worker of the pool `default`.
const USERS: &str = r#"
authorization { users = [
  { user: coordinator, password: c }
  { user: worker, password: w, permissions: {
      publish: [
        "$JS.API.CONSUMER.INFO.SM_TASKS_default.*", "$JS.API.CONSUMER.MSG.NEXT.SM_TASKS_default.*",
        "$JS.ACK.SM_TASKS_default.>", "$JS.ACK.*.*.SM_TASKS_default.>",
        "sm.log.*.*.w.default", "sm.ask.default.*", "sm.dead.default"
      ]
      subscribe: ["_INBOX_default.>"]
  } }
] }
"#;

async fn connect(server: &NatsServer, user: &str) -> Nats {
    let mut options = NatsOptions::new(&server.url(), user);
    options.auth = Auth::UserPassword { user: user.into(), password: user[..1].into() };
    if user == "worker" {
        options.inbox_prefix = Some("_INBOX_default".into());
        options.check_jetstream = false;
    }
    Nats::connect(options).await.unwrap()
}

#[tokio::test]
async fn a_worker_works_with_the_rights_of_its_pool_alone() {
    let server = NatsServer::start_with(&NatsSetup { more: USERS.into(), ..NatsSetup::default() }).unwrap();
    let nats = connect(&server, "coordinator").await;
    let options = StreamOptions { ack_wait: Duration::from_secs(30), ..StreamOptions::default() };
    nats.ensure_streams(&options).await.unwrap();
    let queues = TaskQueues::new(nats.clone(), options);
    for name in ["default", "other"] {
        queues.ensure(&PoolName::new(name).unwrap()).await.unwrap();
    }
    let id = CommandId { run: run(1), visit: Visit(1), pass: Pass(0), dispatch: 1 };
    let kind = StepKind::new("echo").unwrap();
    let payload = bytes::Bytes::from_static(b"x");
    let task = TaskMessage { id, pool: pool(), priority: Priority::Normal, kind, again: false, payload };
    queues.publish(vec![task]).await.remove(0).unwrap();

    let connection = connect(&server, "worker").await;
    let link = NatsWorkerLink::new(connection.clone());
    link.join(&pool(), &[]).await.unwrap();
    let got = link.fetch(&pool(), 4, Duration::from_secs(5)).await.unwrap();
    link.heartbeat(&pool()).await.unwrap().progress(&[got[0].ack.clone()]).await;
    let record = LogRecord { run: run(1), event: Event::Cancel { reason: "test".into() }, reply: None };
    link.report(&pool(), PartitionNo(1), record).await.unwrap();
    link.ack(&got[0].ack).await.unwrap();

    // Nobody answers what one may not ask; the limits of the two calls are what this test waits for.
    let as_coordinator = LogSubject { partition: PartitionNo(1), run: run(1), writer: LogWriter::Coordinator };
    let forged = Append { subject: as_coordinator, id: None, payload: "x".into() };
    let (log, other) = (Log::new(connection), PoolName::new("other").unwrap());
    let (forged, stolen) = tokio::join!(log.append(vec![forged]), link.join(&other, &[]));
    assert!(matches!(forged[0], Err(NatsError::Timeout { .. })), "{forged:?}");
    assert!(stolen.is_err());
    assert_eq!(Log::new(nats).state().await.unwrap().last_seq, 1);
}
