//! The log: order, restarts, single messages, snapshots, history.

use std::time::Duration;

use stepmill_nats::subject::{LogSubject, LogWriter};
use stepmill_nats::{Append, Log, LogMessage, LogReader, NatsError, Start};
use stepmill_protocol::{PartitionNo, RunId};

use crate::support::{Fixture, fixture, pool, run};

const P: PartitionNo = PartitionNo(3);

fn record(partition: PartitionNo, run: RunId, writer: LogWriter, text: &str) -> Append {
    let payload = text.as_bytes().to_vec().into();
    Append { subject: LogSubject { partition, run, writer }, id: None, payload }
}

fn numbered(from: usize, to: usize) -> Vec<Append> {
    (from..to).map(|n| record(P, run(n as u128 % 7), LogWriter::Coordinator, &n.to_string())).collect()
}

async fn append(log: &Log, records: Vec<Append>) -> Vec<u64> {
    log.append(records).await.into_iter().map(|r| r.unwrap().seq).collect()
}

async fn read(reader: &mut LogReader, count: usize) -> Vec<LogMessage> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(10), reader.next_batch(512, 1 << 20)).await;
        all.extend(batch.expect("a record in time").unwrap());
    }
    all
}

fn texts(messages: &[LogMessage]) -> Vec<String> {
    messages.iter().map(|m| String::from_utf8(m.payload.to_vec()).unwrap()).collect()
}

async fn log() -> (Fixture, Log) {
    let f = fixture().await;
    let log = Log::new(f.nats.clone());
    (f, log)
}

#[tokio::test]
async fn a_partition_is_read_in_the_order_it_was_appended() {
    let (_f, log) = log().await;
    let mut reader = log.reader(P, Start::Seq(1)).await.unwrap();
    let seqs = append(&log, numbered(0, 3000)).await;
    append(&log, vec![record(PartitionNo(4), run(1), LogWriter::Coordinator, "another partition")]).await;
    let more = append(&log, vec![record(P, run(1), LogWriter::Worker(pool()), "last")]).await;
    let all = read(&mut reader, 3001).await;
    let want: Vec<String> = (0..3000).map(|n| n.to_string()).chain(["last".into()]).collect();
    assert_eq!(texts(&all), want);
    assert_eq!(all.iter().map(|m| m.seq).collect::<Vec<_>>(), [seqs, more.clone()].concat());
    assert_eq!(all[3000].subject, Some(LogSubject { partition: P, run: run(1), writer: LogWriter::Worker(pool()) }));
    assert!(all[0].time.0 > 1_700_000_000_000);
    assert_eq!(reader.pending(), 0);
    let state = log.state().await.unwrap();
    assert_eq!((state.first_seq, state.last_seq), (1, more[0]));
}

#[tokio::test]
async fn the_limits_of_a_batch_are_kept() {
    let (_f, log) = log().await;
    append(&log, numbered(0, 20)).await;
    let mut reader = log.reader(P, Start::Seq(1)).await.unwrap();
    assert!(reader.next_batch(3, 1 << 20).await.unwrap().len() <= 3);
    assert_eq!(reader.next_batch(10, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_restart_ends_the_reader_and_reading_goes_on_from_the_next_position() {
    let (mut f, log) = log().await;
    append(&log, numbered(0, 10)).await;
    let before = log.state().await.unwrap();
    let mut reader = log.reader(P, Start::Seq(1)).await.unwrap();
    let all = read(&mut reader, 10).await;
    f.server.restart().unwrap();
    let error = reader.next_batch(10, 1 << 20).await.unwrap_err();
    assert!(matches!(error, NatsError::Interrupted { .. }) && error.is_retryable(), "{error}");
    let after = log.state().await.unwrap();
    assert_eq!(before, after);
    append(&log, numbered(10, 20)).await;
    let mut reader = log.reader(P, Start::Seq(all[9].seq + 1)).await.unwrap();
    assert_eq!(texts(&read(&mut reader, 10).await), (10..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn deleting_the_stream_ends_the_reader_and_shows_in_the_incarnation() {
    let (f, log) = log().await;
    append(&log, numbered(0, 1)).await;
    let before = log.state().await.unwrap();
    let mut reader = log.reader(P, Start::Seq(1)).await.unwrap();
    read(&mut reader, 1).await;
    f.nats.request("$JS.API.STREAM.DELETE.SM_LOG", "", Duration::from_secs(5)).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), reader.next_batch(10, 1 << 20)).await.unwrap();
    assert!(matches!(ended, Err(NatsError::Interrupted { .. })), "{ended:?}");
    assert!(matches!(log.state().await, Err(NatsError::NotFound { .. })));
    f.nats.ensure_streams(&f.options).await.unwrap();
    assert_ne!(log.state().await.unwrap().incarnation, before.incarnation);
}

#[tokio::test]
async fn one_id_is_stored_once() {
    let (_f, log) = log().await;
    let twice: Vec<Append> =
        (0..2).map(|_| Append { id: Some("x".into()), ..record(P, run(1), LogWriter::Coordinator, "a") }).collect();
    let stored: Vec<_> = log.append(twice).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((stored[0].duplicate, stored[1].duplicate), (false, true));
    assert_eq!(stored[0].seq, stored[1].seq);
}

#[tokio::test]
async fn a_record_above_the_message_limit_fails_alone() {
    let (_f, log) = log().await;
    let large = "x".repeat(2 << 20);
    let records = ["a", &large, "b"].map(|text| record(P, run(1), LogWriter::Coordinator, text));
    let results = log.append(records.into()).await;
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(results[1], Err(NatsError::TooLarge { .. })), "{:?}", results[1]);
}

#[tokio::test]
async fn a_message_is_found_by_its_position() {
    let (_f, log) = log().await;
    let seqs = append(&log, numbered(0, 2)).await;
    let found = log.message(seqs[1]).await.unwrap().unwrap();
    assert_eq!((found.seq, texts(std::slice::from_ref(&found))), (seqs[1], vec!["1".to_owned()]));
    assert_eq!(found.subject.unwrap().run, run(1));
    let mut reader = log.reader(P, Start::Time(found.time)).await.unwrap();
    assert_eq!(read(&mut reader, 1).await.last().unwrap().time, found.time);
    assert!(log.message(seqs[1] + 1).await.unwrap().is_none());
}

#[tokio::test]
async fn the_newest_snapshot_of_each_run_is_read() {
    let (_f, log) = log().await;
    let snapshot = |n: u128, text: &str| record(P, run(n), LogWriter::Snapshot, text);
    append(&log, vec![snapshot(1, "old"), snapshot(2, "two"), snapshot(1, "one")]).await;
    append(&log, vec![record(P, run(3), LogWriter::Coordinator, "no snapshot")]).await;
    let mut reader = log.snapshots(P).await.unwrap();
    let mut found = Vec::new();
    while let Some(batch) = reader.next_batch(10, 1 << 20).await.unwrap() {
        found.extend(texts(&batch));
    }
    assert_eq!(found, ["two", "one"]);
    assert!(log.snapshots(PartitionNo(9)).await.unwrap().next_batch(10, 1).await.unwrap().is_none());
}

#[tokio::test]
async fn the_history_of_a_run_comes_in_pages() {
    let (_f, log) = log().await;
    append(&log, numbered(0, 70)).await;
    let mut after = 0;
    let mut found = Vec::new();
    loop {
        let page = log.history(P, run(5), after, 4).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        after = last.seq;
        found.extend(texts(&page));
    }
    assert_eq!(found, (0..10).map(|n| (n * 7 + 5).to_string()).collect::<Vec<_>>());
    assert!(log.history(P, run(99), 0, 4).await.unwrap().is_empty());
}
