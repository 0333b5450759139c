//! The port `Events`: a table in the order of arrival, and one that finds an event by its identity, so that it is stored once.
//!
//! | bytes of a row | what |
//! | --- | --- |
//! | 8 | time, big-endian milliseconds |
//! | 16 | identity |
//! | rest | namespace and event, MessagePack |

use std::sync::Arc;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable};
use stepmill_protocol::codec::{pack, unpack};
use stepmill_protocol::{CloudEvent, Millis, Namespace, Timestamp};
use tokio::sync::Notify;

use super::hot::oldest;
use crate::port::event::{EventMessage, EventPlace, EventReader, Events};
use crate::port::queue::QueueError;
use crate::store::embedded::{Core, EVENT, Tables, Write, key};

/// Old events dropped with each new one.
const DROPPED_WITH_ONE: usize = 2;
const HEAD: usize = 8 + 16;

/// The events, in the embedded database.
pub(crate) struct EmbeddedEvents {
    core: Arc<Core>,
    grown: Arc<Notify>,
    age_max: Millis,
}

impl EmbeddedEvents {
    /// `age_max`: how long an event is kept, and its identity remembered.
    pub(crate) fn new(core: Arc<Core>, age_max: Millis) -> Self {
        Self { core, grown: Arc::default(), age_max }
    }
}

#[async_trait]
impl Events for EmbeddedEvents {
    async fn publish(&self, namespace: &Namespace, event: &CloudEvent) -> Result<bool, QueueError> {
        let body = pack(&(namespace, event)).map_err(|e| QueueError { message: e.to_string(), retryable: false })?;
        let identity = *event.identity(namespace).as_bytes();
        let grown = Arc::clone(&self.grown);
        Ok(self.core.write(Publish { identity, body, age_max: self.age_max, is_new: false, grown }).await?)
    }

    async fn read(&self, behind: EventPlace) -> Result<Box<dyn EventReader>, QueueError> {
        let after = self.core.scan(move |read| place_of(read, behind)).await?;
        Ok(Box::new(Reader { core: Arc::clone(&self.core), grown: Arc::clone(&self.grown), after }))
    }
}

struct Publish {
    identity: [u8; 16],
    body: Vec<u8>,
    age_max: Millis,
    is_new: bool,
    grown: Arc<Notify>,
}

impl Write for Publish {
    type Out = bool;

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        if tables.event_id.get(&self.identity)?.is_some() {
            self.is_new = false;
            return Ok(());
        }
        let seq = tables.counters.next_event();
        let mut row = Vec::with_capacity(HEAD + self.body.len());
        row.extend_from_slice(&tables.now.0.to_be_bytes());
        row.extend_from_slice(&self.identity);
        row.extend_from_slice(&self.body);
        tables.event.insert(seq, row.as_slice())?;
        tables.event_id.insert(&self.identity, seq)?;
        self.is_new = true;
        drop_old(tables, oldest(tables.now, self.age_max))
    }

    fn stored(self) -> bool {
        if self.is_new {
            self.grown.notify_waiters();
        }
        self.is_new
    }
}

fn drop_old(tables: &mut Tables<'_>, before: Timestamp) -> Result<(), redb::Error> {
    let mut old = Vec::new();
    for row in tables.event.range(0..)?.take(DROPPED_WITH_ONE) {
        let (seq, row) = row?;
        if time(row.value()) < before {
            old.push((seq.value(), identity(row.value())));
        }
    }
    for (seq, identity) in old {
        tables.event.remove(seq)?;
        tables.event_id.remove(&identity)?;
    }
    Ok(())
}

fn time(row: &[u8]) -> Timestamp {
    Timestamp(u64::from_be_bytes(key::eight(row)))
}

fn identity(row: &[u8]) -> [u8; 16] {
    row.get(8..).and_then(|rest| rest.first_chunk::<16>()).copied().unwrap_or_default()
}

/// The sequence behind which to read.
fn place_of(read: &ReadTransaction, behind: EventPlace) -> Result<u64, redb::Error> {
    let row = read.open_table(EVENT)?.get(behind.seq)?;
    match row {
        Some(row) if time(row.value()) == behind.at => Ok(behind.seq),
        Some(_) | None => last_before(read, behind.at),
    }
}

/// The last event that was stored before a time. Times grow with sequences, so it is found by halving.
fn last_before(read: &ReadTransaction, from: Timestamp) -> Result<u64, redb::Error> {
    let table = read.open_table(EVENT)?;
    let Some(last) = table.range(0..)?.next_back().transpose()? else { return Ok(0) };
    let (mut low, mut high) = (0, last.0.value().saturating_add(1));
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        match table.range(middle..)?.next().transpose()? {
            Some((seq, row)) if time(row.value()) < from => low = seq.value(),
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

struct Reader {
    core: Arc<Core>,
    grown: Arc<Notify>,
    after: u64,
}

#[async_trait]
impl EventReader for Reader {
    async fn next(&mut self, max: usize, max_bytes: usize) -> Result<Vec<EventMessage>, QueueError> {
        let grown = Arc::clone(&self.grown);
        loop {
            let grown = grown.notified();
            tokio::pin!(grown);
            // Listen first, then look: nothing that comes in between is missed.
            grown.as_mut().enable();
            let after = self.after;
            let batch = self.core.peek(move |read| batch(read, after, max, max_bytes)).await?;
            if let Some(last) = batch.last() {
                self.after = last.seq;
                return Ok(batch);
            }
            grown.await;
        }
    }
}

fn batch(read: &ReadTransaction, after: u64, max: usize, max_bytes: usize) -> Result<Vec<EventMessage>, redb::Error> {
    let table = read.open_table(EVENT)?;
    let mut bytes = 0_usize;
    let mut batch = Vec::new();
    for row in table.range(after.saturating_add(1)..)?.take(max.max(1)) {
        let (seq, row) = row?;
        let message = message(seq.value(), row.value());
        bytes = bytes.saturating_add(message.bytes);
        if bytes > max_bytes && !batch.is_empty() {
            break;
        }
        batch.push(message);
    }
    Ok(batch)
}

fn message(seq: u64, row: &[u8]) -> EventMessage {
    let body = row.get(HEAD..).unwrap_or_default();
    let event = unpack::<(Namespace, CloudEvent)>(body).map_err(|e| e.to_string());
    EventMessage { seq, at: time(row), bytes: body.len(), event: event.map(|(ns, event)| (ns, Arc::new(event))) }
}
