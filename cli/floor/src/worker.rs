//! The worker: takes a task, stores its payload as the result, and acks the task when the result is stored.

use std::num::NonZeroUsize;

use async_nats::Subject;

use crate::error::FloorError;
use crate::layout::Layout;
use crate::mark::Mark;
use crate::variant::Variant;
use crate::wire::{ACK, Arrival, ROOM, Wire};

/// Numbers for the results that wait for a confirmation, each with the ack of its task; they are used again.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Subject>>,
    free: Vec<usize>,
}

impl Waiting {
    fn put(&mut self, ack: Subject) -> usize {
        if let Some(number) = self.free.pop() {
            self.places[number] = Some(ack);
            return number;
        }
        self.places.push(Some(ack));
        self.places.len() - 1
    }

    fn take(&mut self, number: usize) -> Option<Subject> {
        let ack = self.places.get_mut(number)?.take()?;
        self.free.push(number);
        Some(ack)
    }
}

/// Works until it is dropped. The coordinator must have made the streams. With a number of slots, never more tasks than that
/// are asked for or taken up: a slot is free again when its result is stored, as in the product.
///
/// # Errors
/// [`FloorError`] with the first thing that goes wrong.
pub async fn work(nats_url: &str, variant: Variant, slots: Option<NonZeroUsize>) -> Result<(), FloorError> {
    let layout = Layout::new(variant)?;
    let mut wire = Wire::connect(nats_url, "stepmill-floor-worker").await?;
    wire.pull_from(&[layout.tasks()], slots.map_or(ROOM, NonZeroUsize::get)).await?;
    let mut waiting = Waiting::default();
    loop {
        for message in wire.arrivals().await? {
            match wire.read(message)? {
                Arrival::Delivery { payload, ack } => {
                    if slots.is_none() {
                        wire.freed(0);
                    }
                    let subject = layout.result_subject(Mark::of(&payload)?);
                    let reply = wire.reply(waiting.put(ack));
                    let sent = wire.client.publish_with_reply(subject, reply, payload).await;
                    sent.map_err(|e| FloorError::nats("a result", e))?;
                }
                Arrival::Confirmed { number } => {
                    if slots.is_some() {
                        wire.freed(0);
                    }
                    if let Some(ack) = waiting.take(number) {
                        let sent = wire.client.publish(ack, ACK).await;
                        sent.map_err(|e| FloorError::nats("an ack", e))?;
                    }
                }
                Arrival::Nothing => {}
            }
        }
        wire.top_up_all().await?;
    }
}
