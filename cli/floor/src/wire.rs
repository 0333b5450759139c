//! A connection to NATS with one inbox for everything that comes: deliveries, and confirmations of what was sent.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::ReadyChunks;

use crate::error::FloorError;
use crate::layout::Source;

/// Deliveries that a coordinator, or a worker without a number of slots, has room for.
pub(crate) const ROOM: usize = 1024;
/// Arrivals taken in one go.
const CHUNK: usize = 2048;
/// Arrivals that may wait in memory, and commands to the connection.
const QUEUED_MAX: usize = 262_144;
/// Silence after which the loop is broken off.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// An ack. Nobody confirms it, as in the product: one that is lost costs a redelivery.
pub(crate) const ACK: Bytes = Bytes::from_static(b"+ACK");

/// What has come.
pub(crate) enum Arrival {
    /// A message of a consumer.
    Delivery { payload: Bytes, ack: Subject },
    /// The broker confirmed what was sent with this number.
    Confirmed { number: usize },
    /// Nothing of interest.
    Nothing,
}

struct Lane {
    pull: Subject,
    /// Deliveries that there is room for.
    room: usize,
    /// Of these, how many are asked for or taken up.
    used: usize,
}

/// The connection.
pub(crate) struct Wire {
    pub(crate) client: Client,
    prefix: String,
    deliveries: Subject,
    arrivals: ReadyChunks<Subscriber>,
    lanes: Vec<Lane>,
}

impl Wire {
    pub(crate) async fn connect(url: &str, name: &str) -> Result<Self, FloorError> {
        let options = ConnectOptions::new()
            .name(name)
            .subscription_capacity(QUEUED_MAX)
            .client_capacity(QUEUED_MAX)
            .skip_subject_validation(true);
        let client = options.connect(url).await.map_err(|e| FloorError::nats("connecting", e))?;
        let prefix = format!("{}.", client.new_inbox());
        let inbox = client.subscribe(format!("{prefix}*")).await;
        let inbox = inbox.map_err(|e| FloorError::nats("the inbox", e))?;
        let deliveries = Subject::from(format!("{prefix}d"));
        Ok(Self { client, prefix, deliveries, arrivals: inbox.ready_chunks(CHUNK), lanes: Vec::new() })
    }

    /// Takes messages from these consumers from now on, with room for so many of each.
    pub(crate) async fn pull_from(&mut self, sources: &[Source], room: usize) -> Result<(), FloorError> {
        let pull = |s: &Source| Subject::from(format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", s.stream, s.consumer));
        self.lanes = sources.iter().map(|s| Lane { pull: pull(s), room, used: 0 }).collect();
        for lane in 0..self.lanes.len() {
            self.top_up(lane).await?;
        }
        Ok(())
    }

    /// There is room for one more delivery of this consumer.
    pub(crate) fn freed(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.used = lane.used.saturating_sub(1);
        }
    }

    /// Asks for more where half of the room is free.
    pub(crate) async fn top_up_all(&mut self) -> Result<(), FloorError> {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].used <= self.lanes[lane].room / 2 {
                self.top_up(lane).await?;
            }
        }
        Ok(())
    }

    async fn top_up(&mut self, lane: usize) -> Result<(), FloorError> {
        let lane = &mut self.lanes[lane];
        let batch = lane.room - lane.used;
        lane.used = lane.room;
        // Without an end: the request stands until all of it has come.
        let body = Bytes::from(format!("{{\"batch\":{batch}}}"));
        let sent = self.client.publish_with_reply(lane.pull.clone(), self.deliveries.clone(), body).await;
        sent.map_err(|e| FloorError::nats("asking for messages", e))
    }

    /// Waits for something to come, and takes all that has.
    pub(crate) async fn arrivals(&mut self) -> Result<Vec<Message>, FloorError> {
        self.arrivals.next().await.ok_or_else(|| FloorError::nats("the inbox", "the connection is closed"))
    }

    /// Where the confirmation of what is sent with this number has to go.
    pub(crate) fn reply(&self, number: usize) -> Subject {
        Subject::from(format!("{}{number}", self.prefix))
    }

    /// Says what a message is.
    pub(crate) fn read(&self, message: Message) -> Result<Arrival, FloorError> {
        if let Some(status) = message.status {
            let why = message.description.as_deref().unwrap_or_default();
            return Err(FloorError::nats("a status came", format!("{status} {why}")));
        }
        if let Some(ack) = message.reply {
            return Ok(Arrival::Delivery { payload: message.payload, ack });
        }
        let number = message.subject.strip_prefix(self.prefix.as_str()).and_then(|n| n.parse().ok());
        match number {
            Some(_) if message.payload.starts_with(b"{\"error\"") => {
                Err(FloorError::nats("storing a message", String::from_utf8_lossy(&message.payload)))
            }
            Some(number) => Ok(Arrival::Confirmed { number }),
            None => Ok(Arrival::Nothing),
        }
    }
}
