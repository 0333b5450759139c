//! The worker: takes a task, stores its payload as the result, and acks the task when the result is stored.

use async_nats::Subject;
use bytes::Bytes;

use crate::error::FloorError;
use crate::layout::Layout;
use crate::mark::Mark;
use crate::variant::Variant;
use crate::wire::{Arrival, Wire};

/// What an answer of the broker is about.
enum Sent {
    /// A result; its task is to be acked.
    Result(Subject),
    /// An ack.
    Ack,
}

/// Numbers for what waits for a confirmation; they are used again.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Sent>>,
    free: Vec<usize>,
}

impl Waiting {
    fn put(&mut self, sent: Sent) -> usize {
        if let Some(number) = self.free.pop() {
            self.places[number] = Some(sent);
            return number;
        }
        self.places.push(Some(sent));
        self.places.len() - 1
    }

    fn take(&mut self, number: usize) -> Option<Sent> {
        let sent = self.places.get_mut(number)?.take()?;
        self.free.push(number);
        Some(sent)
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
                    let reply = wire.reply(waiting.put(Sent::Result(ack)));
                    let sent = wire.client.publish_with_reply(subject, reply, payload).await;
                    sent.map_err(|e| FloorError::nats("a result", e))?;
                }
                Arrival::Confirmed { number } => {
                    if let Some(Sent::Result(ack)) = waiting.take(number) {
                        acknowledge(&wire, &mut waiting, &layout, ack).await?;
                    }
                }
                Arrival::Nothing => {}
            }
        }
        wire.top_up_all().await?;
    }
}

async fn acknowledge(wire: &Wire, waiting: &mut Waiting, layout: &Layout, ack: Subject) -> Result<(), FloorError> {
    let body = Bytes::from_static(b"+ACK");
    let sent = if layout.confirms_acks() {
        let reply = wire.reply(waiting.put(Sent::Ack));
        wire.client.publish_with_reply(ack, reply, body).await
    } else {
        wire.client.publish(ack, body).await
    };
    sent.map_err(|e| FloorError::nats("an ack", e))
}
