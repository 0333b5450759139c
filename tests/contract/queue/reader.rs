//! The log, read in order.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use stepmill_coordinator::port::queue::{Source, Start};
use stepmill_protocol::codec::pack;
use stepmill_protocol::{Event, LogRecord};

use super::support::{Case, SHORT, new_run, next_of, nothing_more, records, signal, until};

pub(crate) async fn records_are_read_in_order(case: &Case) {
    let (a, b) = (new_run(), new_run());
    let mut written = case.append(a, 3).await;
    written.extend(case.append(b, 1).await);
    written.extend(case.append(a, 2).await);
    let messages = next_of(&mut case.read(Start::After(0)).await, 6).await;
    assert!(messages.is_sorted_by(|x, y| x.seq < y.seq && x.at <= y.at));
    for (message, record) in messages.iter().zip(&written) {
        assert_eq!((message.run, &message.source), (record.run, &Source::Coordinator));
        assert_eq!(message.bytes, pack(record).unwrap().len());
        assert!(message.at.0 > 1_600_000_000_000, "{:?}", message.at);
    }
    assert_eq!(records(messages), written);
}

pub(crate) async fn a_reader_waits_for_what_comes(case: &Case) {
    let mut reader = case.read(Start::After(0)).await;
    for _ in 0..3 {
        let (came, written) = tokio::join!(next_of(&mut reader, 1), case.append(new_run(), 1));
        assert_eq!(records(came), written);
    }
    assert!(case.log.append(case.partition, &[]).await.unwrap().is_empty());
    nothing_more(&mut reader).await;
}

pub(crate) async fn a_reader_goes_on_after_a_position(case: &Case) {
    let written = case.append(new_run(), 10).await;
    let all = next_of(&mut case.read(Start::After(0)).await, 10).await;
    for (at, message) in all.iter().enumerate().take(9) {
        let rest = next_of(&mut case.read(Start::After(message.seq)).await, 9 - at).await;
        assert_eq!(records(rest), written[at + 1..]);
    }
    nothing_more(&mut case.read(Start::After(all[9].seq)).await).await;
}

pub(crate) async fn a_reader_starts_later_than_a_time(case: &Case) {
    let mut messages = Vec::new();
    let mut reader = case.read(Start::After(0)).await;
    // Until there are five different times.
    let mut times = BTreeSet::new();
    until("time passes", async || {
        case.append(new_run(), 2).await;
        messages.extend(next_of(&mut reader, 2).await);
        times.extend(messages.iter().map(|m| m.at));
        times.len() >= 5
    })
    .await;
    for time in times.iter().rev().skip(1) {
        let expected: Vec<u64> = messages.iter().filter(|m| m.at > *time).map(|m| m.seq).collect();
        let later = next_of(&mut case.read(Start::LaterThan(*time)).await, expected.len()).await;
        assert_eq!(later.iter().map(|m| m.seq).collect::<Vec<_>>(), expected);
    }
    let mut reader = case.read(Start::LaterThan(*times.last().unwrap())).await;
    nothing_more(&mut reader).await;
    let everything =
        next_of(&mut case.read(Start::LaterThan(stepmill_protocol::Timestamp(1))).await, messages.len()).await;
    assert_eq!(everything[0].seq, messages[0].seq);
}

pub(crate) async fn limits_are_kept(case: &Case) {
    let written = case.append(new_run(), 20).await;
    let bytes = pack(&written[0]).unwrap().len();
    let mut reader = case.read(Start::After(0)).await;
    let mut read = Vec::new();
    for (max, max_bytes) in [(3, usize::MAX), (20, 4 * bytes + 3), (5, 1), (1, 0)].into_iter().cycle() {
        let messages = reader.next(max, max_bytes).await.unwrap();
        let sum: usize = messages.iter().map(|m| m.bytes).sum();
        assert!(!messages.is_empty() && messages.len() <= max, "{} of {max}", messages.len());
        assert!(sum <= max_bytes || messages.len() == 1, "{sum} of {max_bytes} bytes");
        read.extend(records(messages));
        if read.len() >= 20 {
            break;
        }
    }
    assert_eq!(read, written);
}

pub(crate) async fn a_dropped_wait_loses_nothing(case: &Case) {
    let mut reader = case.read(Start::After(0)).await;
    let run = new_run();
    let mut written = Vec::new();
    let mut read = Vec::new();
    for _ in 0..30 {
        let waiting = reader.next(100, usize::MAX);
        tokio::select! {
            biased;
            more = case.append(run, 1) => written.extend(more),
            more = waiting => read.extend(records(more.unwrap())),
        }
        if let Ok(more) = tokio::time::timeout(Duration::from_micros(50), reader.next(100, usize::MAX)).await {
            read.extend(records(more.unwrap()));
        }
    }
    // What a dropped append wrote is in the log or not; what was answered is, in order.
    while !written.iter().all(|record| read.contains(record)) {
        let more = tokio::time::timeout(super::support::LONG, reader.next(100, usize::MAX)).await.unwrap().unwrap();
        read.extend(records(more));
    }
    read.retain(|record| written.contains(record));
    assert_eq!(read, written);
}

pub(crate) async fn the_tail_is_the_last_record(case: &Case) {
    assert_eq!(case.log.tail(case.partition).await.unwrap(), 0);
    let seqs = case.log.append(case.partition, &[signal(new_run(), "a"), signal(new_run(), "b")]).await.unwrap();
    case.log.append(case.other_partition(), &[signal(new_run(), "c")]).await.unwrap();
    assert_eq!(case.log.tail(case.partition).await.unwrap(), seqs[1]);
    let first = case.log.first().await.unwrap();
    assert!(first > 0 && first <= seqs[0], "{first} of {seqs:?}");
}

pub(crate) async fn times_are_known_by_position(case: &Case) {
    case.append(new_run(), 3).await;
    for message in next_of(&mut case.read(Start::After(0)).await, 3).await {
        assert_eq!(case.log.time_at(case.partition, message.seq).await.unwrap(), Some(message.at));
        assert_eq!(case.log.time_at(case.partition, message.seq + 1_000_000).await.unwrap(), None);
    }
}

pub(crate) async fn partitions_are_apart(case: &Case) {
    let here = case.append(new_run(), 3).await;
    let there = vec![signal(new_run(), "there")];
    case.log.append(case.other_partition(), &there).await.unwrap();
    let mut reader = case.log.read(case.other_partition(), Start::After(0)).await.unwrap();
    assert_eq!(records(next_of(&mut reader, 1).await), there);
    nothing_more(&mut reader).await;
    assert_eq!(records(next_of(&mut case.read(Start::After(0)).await, 3).await), here);
}

pub(crate) async fn a_reader_far_behind_catches_up(case: &Case) {
    let run = new_run();
    let mut written = Vec::new();
    for _ in 0..12 {
        written.extend(case.append(run, 500).await);
    }
    let mut reader = case.read(Start::After(0)).await;
    let mut read = records(next_of(&mut reader, 1_000).await);
    written.extend(case.append(run, 500).await);
    read.extend(records(next_of(&mut reader, 5_500).await));
    assert!(read == written, "6500 records in order");
    nothing_more(&mut reader).await;
}

pub(crate) async fn many_writers_have_one_order(case: &Case) {
    let mut reader = case.read(Start::After(0)).await;
    let writers = (0..40).map(|n| async move {
        let (run, mut seqs) = (new_run(), Vec::new());
        for _ in 0..5 {
            seqs.extend(case.log.append(case.partition, &[signal(run, &n.to_string())]).await.unwrap());
        }
        assert!(seqs.is_sorted_by(|a, b| a < b));
        seqs
    });
    let (answered, read) = tokio::join!(join_all(writers), next_of(&mut reader, 200));
    let answered: BTreeSet<u64> = answered.into_iter().flatten().collect();
    assert_eq!(read.iter().map(|m| m.seq).collect::<Vec<_>>(), answered.into_iter().collect::<Vec<_>>());
}

pub(crate) async fn large_records_are_kept(case: &Case) {
    let data = serde_json::Value::String("ü".repeat(300_000));
    let event = Event::Signal { id: uuid::Uuid::nil(), name: "large".into(), data };
    let record = LogRecord { run: new_run(), event, reply: None };
    for _ in 0..3 {
        case.log.append(case.partition, std::slice::from_ref(&record)).await.unwrap();
    }
    let read = records(next_of(&mut case.read(Start::After(0)).await, 3).await);
    assert!(read.iter().all(|r| *r == record));
}

pub(crate) async fn the_identity_stays(case: &Case) {
    let identity = case.log.identity().await.unwrap();
    assert!(!identity.is_empty());
    case.append(new_run(), 1).await;
    assert_eq!(case.log.identity().await.unwrap(), identity);
    // A reader that nobody reads does no harm.
    drop(case.read(Start::After(0)).await);
    let mut reader = case.read(Start::After(u64::from(u32::MAX))).await;
    assert!(tokio::time::timeout(SHORT, reader.next(1, 1)).await.is_err());
}
