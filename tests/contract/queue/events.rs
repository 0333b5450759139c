//! CloudEvents: one order for all, read from a time on, each stored once.

use serde_json::json;
use stepmill_coordinator::port::event::{EventMessage, EventPlace, EventReader};
use stepmill_protocol::{CloudEvent, Namespace, Timestamp};

use super::support::{Case, LONG, SHORT};

fn event(id: &str) -> CloudEvent {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/contract", "type": "com.example.a b", "roomid": "r1", "data": {"id": id},
    });
    CloudEvent::try_from(event).unwrap()
}

fn namespace() -> Namespace {
    Namespace::new("team").unwrap()
}

fn since(at: u64) -> EventPlace {
    EventPlace { at: Timestamp(at), seq: 0 }
}

/// Reads until there are `count`.
async fn read(reader: &mut dyn EventReader, count: usize) -> Vec<EventMessage> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(tokio::time::timeout(LONG, reader.next(2, 1 << 20)).await.unwrap().unwrap());
    }
    all
}

fn ids(messages: &[EventMessage]) -> Vec<String> {
    messages.iter().map(|m| m.event.as_ref().unwrap().1.id().to_owned()).collect()
}

pub(crate) async fn events_are_read_in_order(case: &Case) {
    for id in ["a", "b", "c"] {
        assert!(case.events.publish(&namespace(), &event(id)).await.unwrap());
    }
    let mut reader = case.events.read(EventPlace::default()).await.unwrap();
    let mut found = read(reader.as_mut(), 3).await;
    assert_eq!(ids(&found), ["a", "b", "c"]);
    assert!(found.windows(2).all(|w| w[0].seq < w[1].seq && w[0].at <= w[1].at));
    let (of, first) = found[0].event.clone().unwrap();
    assert_eq!((of, first.as_ref()), (namespace(), &event("a")));
    // One that comes later reaches the reader that waits.
    let (late, stored) = tokio::join!(read(reader.as_mut(), 1), async {
        tokio::time::sleep(SHORT).await;
        case.events.publish(&namespace(), &event("d")).await
    });
    assert!(stored.unwrap());
    found.extend(late);
    assert_eq!(ids(&found), ["a", "b", "c", "d"]);
}

pub(crate) async fn events_are_read_from_a_time_on(case: &Case) {
    case.events.publish(&namespace(), &event("early")).await.unwrap();
    let first = read(case.events.read(EventPlace::default()).await.unwrap().as_mut(), 1).await[0].at;
    tokio::time::sleep(SHORT).await;
    case.events.publish(&namespace(), &event("late")).await.unwrap();
    let mut all = case.events.read(since(first.0)).await.unwrap();
    assert_eq!(ids(&read(all.as_mut(), 2).await), ["early", "late"]);
    let mut later = case.events.read(since(first.0 + 1)).await.unwrap();
    assert_eq!(ids(&read(later.as_mut(), 1).await), ["late"]);
    // Beyond the end: only what comes then.
    let mut none = case.events.read(since(first.0 + 3_600_000)).await.unwrap();
    assert!(tokio::time::timeout(SHORT, none.next(9, 1 << 20)).await.is_err());
}

pub(crate) async fn events_are_read_from_behind_a_place(case: &Case) {
    for id in ["a", "b", "c"] {
        case.events.publish(&namespace(), &event(id)).await.unwrap();
    }
    let all = read(case.events.read(EventPlace::default()).await.unwrap().as_mut(), 3).await;
    let mut behind = case.events.read(all[1].place()).await.unwrap();
    assert_eq!(ids(&read(behind.as_mut(), 1).await), ["c"]);
    // The end: only what comes then.
    let mut none = case.events.read(all[2].place()).await.unwrap();
    assert!(tokio::time::timeout(SHORT, none.next(9, 1 << 20)).await.is_err());
    // Another event lies there than the one that is meant, or none: the time counts.
    let elsewhere = EventPlace { at: Timestamp(all[0].at.0 - 1), seq: all[2].seq };
    let nowhere = EventPlace { at: all[0].at, seq: all[2].seq + 7 };
    for place in [elsewhere, nowhere] {
        let mut from = case.events.read(place).await.unwrap();
        assert_eq!(ids(&read(from.as_mut(), 3).await), ["a", "b", "c"]);
    }
}

pub(crate) async fn an_event_is_stored_once(case: &Case) {
    assert!(case.events.publish(&namespace(), &event("a")).await.unwrap());
    assert!(!case.events.publish(&namespace(), &event("a")).await.unwrap());
    let other = Namespace::new("other").unwrap();
    assert!(case.events.publish(&other, &event("a")).await.unwrap());
    assert!(case.events.publish(&namespace(), &event("b")).await.unwrap());
    let mut reader = case.events.read(EventPlace::default()).await.unwrap();
    assert_eq!(ids(&read(reader.as_mut(), 3).await), ["a", "a", "b"]);
}
