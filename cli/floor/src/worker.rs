//! The worker: takes a task, stores its payload as the result, and acks the task when the result is stored.

use async_nats::Subject;

use crate::error::FloorError;
use crate::layout::Layout;
use crate::mark::Mark;
use crate::variant::Variant;
use crate::wire::{ACK, Arrival, Wire};

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

/// Works until it is dropped. The coordinator must have made the streams.
///
/// # Errors
/// [`FloorError`] with the first thing that goes wrong.
pub async fn work(nats_url: &str, variant: Variant) -> Result<(), FloorError> {
    let layout = Layout::new(variant)?;
    let mut wire = Wire::connect(nats_url, "stepmill-floor-worker").await?;
    wire.pull_from(&[layout.tasks()]).await?;
    let mut waiting = Waiting::default();
    loop {
        for message in wire.arrivals().await? {
            match wire.read(message)? {
                Arrival::Delivery { payload, ack } => {
                    wire.spent(0);
                    let subject = layout.result_subject(Mark::of(&payload)?);
                    let reply = wire.reply(waiting.put(ack));
                    let sent = wire.client.publish_with_reply(subject, reply, payload).await;
                    sent.map_err(|e| FloorError::nats("a result", e))?;
                }
                Arrival::Confirmed { number } => {
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
