//! Takes messages from one or more durable consumers (lanes, most urgent first), never more than the caller has room
//! for. Room is handed to the broker as credit in standing requests, so that a message that comes while we wait needs
//! no further round trip; where messages are known to wait, they are asked for at once, lane after lane.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use stepmill_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::wire::{AckSubject, PullRequest, Status, status_of};

mod book;

use book::{ANSWER_GRACE, Ask, Book, Kind, Move, STANDING};

/// Gives a delivery back at once.
pub(crate) const NAK: &[u8] = b"-NAK";

/// A delivery.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) message: Message,
    pub(crate) ack: Subject,
    pub(crate) deliveries: u64,
    pub(crate) seq: u64,
    pub(crate) stored_at: Timestamp,
}

#[derive(Debug)]
struct Lane {
    consumer: String,
    pull_subject: String,
    arrived: VecDeque<Arrived>,
}

/// Where deliveries come in. One subscription for each kind of request, since a delivery does not say which request it
/// answers.
#[derive(Debug)]
struct Inbox {
    prefix: String,
    standing: Subscriber,
    looks: Subscriber,
}

impl Inbox {
    /// The next arrival, of standing requests first: they were sent earlier.
    async fn next(&mut self) -> (Kind, Option<Message>) {
        tokio::select! {
            biased;
            message = self.standing.next() => (Kind::Standing, message),
            message = self.looks.next() => (Kind::Look, message),
        }
    }
}

/// Takes messages from several consumers of one stream.
#[derive(Debug)]
pub(crate) struct Puller {
    nats: Nats,
    what: String,
    lanes: Vec<Lane>,
    book: Book,
    /// None before the first request and after everything was given back.
    inbox: Option<Inbox>,
    generation: watch::Receiver<u64>,
    used_at: Instant,
}

impl Puller {
    /// `favourite` is the lane that usually has the messages.
    pub(crate) fn new(nats: &Nats, stream: &str, consumers: Vec<String>, favourite: usize) -> Self {
        let lane = |consumer: String| Lane {
            pull_subject: format!("{}.CONSUMER.MSG.NEXT.{stream}.{consumer}", nats.inner.js),
            consumer,
            arrived: VecDeque::new(),
        };
        Self {
            nats: nats.clone(),
            what: stream.into(),
            book: Book::new(consumers.len(), favourite),
            lanes: consumers.into_iter().map(lane).collect(),
            inbox: None,
            generation: nats.generation(),
            used_at: Instant::now(),
        }
    }

    /// Up to `max` deliveries, of the most urgent lanes first; waits up to `wait` for the first. Cancel safe.
    pub(crate) async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Arrived>, NatsError> {
        let deadline = Instant::now() + wait;
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            self.used_at = Instant::now();
            if self.generation.has_changed().unwrap_or(false) {
                // The requests may or may not have survived; those that did have no inbox any more.
                self.generation.mark_unchanged();
                self.give_back();
            }
            self.accept_what_is_there()?;
            if self.lanes.iter().any(|lane| !lane.arrived.is_empty()) {
                return Ok(self.take(max));
            }
            let look_up = self.ask_for(max).await?;
            // Looks up now and then, so that lost requests are replaced.
            let until = deadline.min(look_up.unwrap_or_else(|| Instant::now() + ANSWER_GRACE));
            let Some(inbox) = &mut self.inbox else {
                // An earlier fetch was dropped before it could send what it had written down.
                self.book.withdrawn();
                continue;
            };
            match tokio::time::timeout_at(until, inbox.next()).await {
                Ok((kind, message)) => self.accept(kind, message)?,
                Err(_) if until < deadline => {}
                Err(_) => {
                    self.used_at = Instant::now();
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Takes back all room that was handed out when nobody has fetched for `idle`: who stopped fetching is not going to
    /// work on what still arrives.
    pub(crate) fn give_back_when_idle(&mut self, idle: Duration) {
        if self.used_at.elapsed() > idle && (self.book.out() > 0 || self.lanes.iter().any(|l| !l.arrived.is_empty())) {
            self.give_back();
        }
    }

    /// Takes what has arrived; what is above `max` goes back at once.
    fn take(&mut self, max: usize) -> Vec<Arrived> {
        let mut taken = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let count = lane.arrived.len().min(max - taken.len());
            if count > 0 {
                self.book.prefer(index);
            }
            taken.extend(lane.arrived.drain(..count));
        }
        self.return_arrived();
        self.used_at = Instant::now();
        taken
    }

    fn return_arrived(&mut self) {
        let rest: Vec<Subject> = self.lanes.iter_mut().flat_map(|lane| lane.arrived.drain(..)).map(|a| a.ack).collect();
        if rest.is_empty() {
            return;
        }
        let nats = self.nats.clone();
        tokio::spawn(async move {
            for ack in rest {
                let _ = nats.publish(&ack, NAK).await;
            }
        });
    }

    /// Withdraws all requests, and returns what has arrived or still arrives on them. Without interest in the inbox the
    /// broker drops the standing requests. What it sends in that very moment is lost to us and comes again after the ack
    /// wait, so this is only done with room that nothing has come to for a while, or when all is over.
    fn give_back(&mut self) {
        self.book.withdrawn();
        self.return_arrived();
        let nats = self.nats.clone();
        if let Some(inbox) = self.inbox.take() {
            tokio::spawn(
                async move { tokio::join!(return_all(&nats, inbox.standing), return_all(&nats, inbox.looks)) },
            );
        }
    }

    /// Hands out room for `max` messages in all, as far as that is not done yet. Gives the time at which to ask again,
    /// where there is one.
    async fn ask_for(&mut self, max: usize) -> Result<Option<Instant>, NatsError> {
        loop {
            match self.book.next(max, Instant::now()) {
                Move::Send(ask) => self.send(ask).await?,
                Move::Withdraw => self.give_back(),
                Move::Wait(until) => return Ok(until),
            }
        }
    }

    async fn send(&mut self, ask: Ask) -> Result<(), NatsError> {
        let client = &self.nats.inner.client;
        let prefix = if let Some(inbox) = &self.inbox {
            &inbox.prefix
        } else {
            let prefix = client.new_inbox();
            let subscribe = async |kind| {
                let subscribed = client.subscribe(format!("{prefix}.{}.>", token(kind))).await;
                subscribed.map_err(|e| NatsError::interrupted(&self.what, e.to_string()))
            };
            let (standing, looks) = (subscribe(Kind::Standing).await?, subscribe(Kind::Look).await?);
            &self.inbox.insert(Inbox { prefix, standing, looks }).prefix
        };
        let request = match ask.kind {
            Kind::Standing => PullRequest::waiting(ask.batch, STANDING),
            Kind::Look => PullRequest::at_once(ask.batch),
        };
        let answers = format!("{prefix}.{}.{}.{}", token(ask.kind), ask.lane, ask.id);
        let to = self.lanes[ask.lane].pull_subject.clone();
        let sent = client.publish_with_reply(to, answers, request.payload()).await;
        sent.map_err(|e| NatsError::interrupted(&self.what, e.to_string()))
    }

    fn accept_what_is_there(&mut self) -> Result<(), NatsError> {
        while let Some((kind, message)) = self.inbox.as_mut().and_then(|inbox| inbox.next().now_or_never()) {
            self.accept(kind, message)?;
        }
        Ok(())
    }

    fn accept(&mut self, kind: Kind, message: Option<Message>) -> Result<(), NatsError> {
        let Some(message) = message else {
            self.inbox = None;
            self.book.withdrawn();
            return Err(NatsError::interrupted(&self.what, "the connection is closed"));
        };
        match status_of(&message) {
            None => self.deliver(kind, message),
            Some(Status::PullOver { undelivered }) => self.end(kind, &message.subject, undelivered),
            Some(Status::NotFound) => self.end(kind, &message.subject, usize::MAX),
            Some(Status::Gone { reason }) => {
                // With a new inbox, so that the same news about the other lanes does not come as another error later.
                self.give_back();
                return Err(NatsError::interrupted(&self.what, reason));
            }
            Some(Status::Heartbeat { .. } | Status::EndOfBatch { .. }) => {}
        }
        Ok(())
    }

    fn end(&mut self, kind: Kind, subject: &str, undelivered: usize) {
        if let Some((lane, id)) = request_of(subject) {
            self.book.ended(kind, lane, id, undelivered, Instant::now());
        }
    }

    fn deliver(&mut self, kind: Kind, message: Message) {
        // Only the broker knows our inbox; anything else in it is no delivery.
        let Some(ack) = message.reply.clone() else { return };
        let Some(info) = AckSubject::parse(&ack) else { return };
        let Some(lane) = self.lanes.iter().position(|lane| lane.consumer == info.consumer) else { return };
        self.book.delivered(kind, lane, info.pending, Instant::now());
        let (deliveries, seq, stored_at) = (info.deliveries, info.stream_seq, info.time);
        self.lanes[lane].arrived.push_back(Arrived { ack, deliveries, seq, stored_at, message });
    }
}

const fn token(kind: Kind) -> &'static str {
    match kind {
        Kind::Standing => "s",
        Kind::Look => "l",
    }
}

/// Lane and number of the request that a status answers.
fn request_of(subject: &str) -> Option<(usize, u64)> {
    let mut tokens = subject.rsplit('.');
    let id = tokens.next()?.parse().ok()?;
    Some((tokens.next()?.parse().ok()?, id))
}

/// Ends a subscription and gives back every delivery that was on its way.
async fn return_all(nats: &Nats, mut arrivals: Subscriber) {
    if arrivals.drain().await.is_err() {
        return;
    }
    while let Ok(Some(message)) = tokio::time::timeout(ANSWER_GRACE, arrivals.next()).await {
        if let (None, Some(ack)) = (status_of(&message), &message.reply) {
            let _ = nats.publish(ack, NAK).await;
        }
    }
}
