//! Connecting: the server floor, JetStream, streams created and checked, reconnecting.

use std::time::Duration;

use stepmill_nats::{Nats, NatsError, NatsOptions, StreamOptions};
use stepmill_tests::server::{NatsServer, NatsSetup};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::support::{connect, fixture, pool};

/// Speaks just enough of the protocol to be connected to.
async fn old_server(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let (read, mut write) = stream.into_split();
    let info =
        r#"{"server_id":"X","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}"#;
    write.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == "PING" && write.write_all(b"PONG\r\n").await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_old_server_is_refused_in_one_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(old_server(listener));
    let error = Nats::connect(NatsOptions::new(&url, "test")).await.unwrap_err();
    assert!(matches!(&error, NatsError::ServerTooOld { found, .. } if found == "2.11.0"), "{error}");
    assert!(!error.is_retryable());
    server.abort();
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let server = NatsServer::start_with(&NatsSetup { jetstream: false, ..NatsSetup::default() }).unwrap();
    let error = Nats::connect(NatsOptions::new(&server.url(), "test")).await.unwrap_err();
    assert!(matches!(error, NatsError::NoJetStream { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let mut options = NatsOptions::new("nats://u:secret@127.0.0.1:1", "test");
    options.connect_within = Duration::from_millis(50);
    let error = Nats::connect(options).await.unwrap_err();
    assert!(matches!(error, NatsError::Connect { retryable: true, .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn streams_are_made_once_checked_and_changed() {
    let f = fixture().await;
    f.nats.ensure_pool(&pool(), &f.options).await.unwrap();
    f.nats.ensure_streams(&f.options).await.unwrap();
    f.nats.ensure_pool(&pool(), &f.options).await.unwrap();
    let longer = StreamOptions {
        log_max_age: Duration::from_secs(3600),
        tasks_dedup_window: Duration::from_millis(100),
        ack_wait: Duration::from_secs(1),
        ..f.options.clone()
    };
    f.nats.ensure_streams(&longer).await.unwrap();
    f.nats.ensure_pool(&pool(), &longer).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_another_kind_is_refused_by_name() {
    let server = NatsServer::start().unwrap();
    let nats = connect(&server).await;
    let config =
        r#"{"name":"SM_JOBS","subjects":["sm.job.*.*"],"retention":"limits","storage":"file","num_replicas":1}"#;
    nats.request("$JS.API.STREAM.CREATE.SM_JOBS", config, Duration::from_secs(5)).await.unwrap();
    let error = nats.ensure_streams(&StreamOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, NatsError::Setting { object, setting: "retention", .. } if object.contains("SM_JOBS")),
        "{error}"
    );
}

#[tokio::test]
async fn a_restart_is_counted_and_fails_who_waits() {
    let mut f = fixture().await;
    let mut generation = f.nats.generation();
    let (_subject, waiting) = f.nats.expect_reply();
    f.server.restart().unwrap();
    let error = waiting.within(Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, NatsError::Disconnected { .. }) && error.may_have_happened(), "{error}");
    tokio::time::timeout(Duration::from_secs(10), generation.changed()).await.unwrap().unwrap();
    assert_eq!(*generation.borrow(), 1);
    f.nats.ensure_streams(&f.options).await.unwrap();
}
