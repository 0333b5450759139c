//! The log, by run; and snapshots.

use stepmill_coordinator::port::queue::{Source, Start};
use stepmill_protocol::Event;

use super::support::{Case, new_run, next_of, records, signal, snapshot};

pub(crate) async fn a_run_has_its_records_in_order(case: &Case) {
    let (a, b) = (new_run(), new_run());
    let mut of_a = case.append(a, 2).await;
    case.append(b, 3).await;
    of_a.extend(case.append(a, 2).await);
    let history = case.log.history(case.partition, a, 0, 100).await.unwrap();
    assert!(history.is_sorted_by(|x, y| x.seq < y.seq));
    assert!(history.iter().all(|m| m.run == a));
    assert_eq!(records(history), of_a);
    assert_eq!(case.log.history(case.partition, b, 0, 100).await.unwrap().len(), 3);
    assert!(case.log.history(case.partition, new_run(), 0, 100).await.unwrap().is_empty());
}

pub(crate) async fn pages_follow_each_other(case: &Case) {
    let (run, other) = (new_run(), new_run());
    let mut written = Vec::new();
    for _ in 0..8 {
        written.extend(case.append(run, 3).await);
        case.append(other, 2).await;
    }
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = case.log.history(case.partition, run, after, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        after = last.seq;
        read.extend(records(page));
    }
    assert_eq!(read, written);
    assert!(case.log.history(case.partition, run, 0, 0).await.unwrap().is_empty());
}

pub(crate) async fn the_newest_snapshot_of_each_run_counts(case: &Case) {
    let (a, b) = (new_run(), new_run());
    assert!(case.log.snapshots(case.partition).await.unwrap().is_empty());
    case.append(a, 1).await;
    for state in [&b"one"[..], b"two", b"\0three"] {
        case.log.append(case.partition, &[snapshot(a, state)]).await.unwrap();
    }
    case.log.append(case.partition, &[snapshot(b, b"of b"), signal(b, "after")]).await.unwrap();
    case.log.append(case.other_partition(), &[snapshot(new_run(), b"elsewhere")]).await.unwrap();
    let mut found = case.log.snapshots(case.partition).await.unwrap();
    found.sort_by_key(|m| m.seq);
    assert!(found.iter().all(|m| m.source == Source::Snapshot));
    let found: Vec<_> = found.into_iter().map(|m| (m.run, m.record.unwrap().event)).collect();
    let expected = [(a, snapshot(a, b"\0three").event), (b, snapshot(b, b"of b").event)];
    assert_eq!(found, expected);
}

pub(crate) async fn snapshots_are_read_in_order_but_are_no_history(case: &Case) {
    let run = new_run();
    let written = [signal(run, "1"), snapshot(run, b"s"), signal(run, "2"), snapshot(run, b"t")];
    let seqs = case.log.append(case.partition, &written).await.unwrap();
    let read = next_of(&mut case.read(Start::After(0)).await, 4).await;
    let sources: Vec<Source> = read.iter().map(|m| m.source.clone()).collect();
    assert_eq!(sources, [Source::Coordinator, Source::Snapshot, Source::Coordinator, Source::Snapshot]);
    assert_eq!(records(read), written);
    assert_eq!(case.log.tail(case.partition).await.unwrap(), seqs[3], "a snapshot can be the tail");
    let history = records(case.log.history(case.partition, run, 0, 100).await.unwrap());
    assert_eq!(history.len(), 2);
    assert!(history.iter().all(|r| matches!(r.event, Event::Signal { .. })));
}
