//! Takes messages from one or more durable consumers (lanes, most urgent first), never more than the caller has room
//! for. Room is handed to the broker as credit in standing requests, so that a message that comes while we wait needs
//! no further round trip; where messages are known to wait, they are asked for at once, lane after lane.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Message, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::wire::{AckSubject, PullRequest, Status, status_of};

/// How long a standing request stands. Short, so that credit moves to where the messages are.
const STANDING: Duration = Duration::from_secs(2);
/// The broker answers each request; one without an answer so long after its end was lost.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// How long "nothing there" is believed of a lane while another one has messages.
const EMPTY_BELIEVED: Duration = Duration::from_millis(10);
/// Gives a delivery back at once.
pub(crate) const NAK: &[u8] = b"-NAK";

/// A delivery.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) message: Message,
    pub(crate) ack: Subject,
    pub(crate) deliveries: u64,
    pub(crate) seq: u64,
}

#[derive(Debug)]
struct Pull {
    id: u64,
    left: usize,
    /// Waits for messages; otherwise it is answered at once.
    standing: bool,
    lost_at: Instant,
}

#[derive(Debug)]
struct Lane {
    consumer: String,
    pull_subject: String,
    pulls: VecDeque<Pull>,
    arrived: VecDeque<Arrived>,
    /// The broker said that it has more.
    backlog: bool,
    /// When it last said that it has nothing.
    empty_at: Option<Instant>,
}

impl Lane {
    fn credit(&self) -> usize {
        self.pulls.iter().map(|p| p.left).sum()
    }

    fn believed_empty(&self, now: Instant) -> bool {
        self.empty_at.is_some_and(|at| now.duration_since(at) < EMPTY_BELIEVED)
    }
}

#[derive(Debug)]
struct Inbox {
    prefix: String,
    arrivals: Subscriber,
}

/// Takes messages from several consumers of one stream.
#[derive(Debug)]
pub(crate) struct Puller {
    nats: Nats,
    what: String,
    lanes: Vec<Lane>,
    /// Where most room goes while nothing is known: the lane that had messages last.
    favourite: usize,
    /// Where deliveries come in; none before the first request and after everything was given back.
    inbox: Option<Inbox>,
    generation: watch::Receiver<u64>,
    next_pull: u64,
    /// More credit is out than there is room, since there is less room than lanes.
    overbooked: bool,
    used_at: Instant,
}

impl Puller {
    /// `favourite` is the lane that usually has the messages.
    pub(crate) fn new(nats: &Nats, stream: &str, consumers: Vec<String>, favourite: usize) -> Self {
        let lane = |consumer: String| Lane {
            pull_subject: format!("{}.CONSUMER.MSG.NEXT.{stream}.{consumer}", nats.inner.js),
            consumer,
            pulls: VecDeque::new(),
            arrived: VecDeque::new(),
            backlog: false,
            empty_at: None,
        };
        Self {
            nats: nats.clone(),
            what: stream.into(),
            lanes: consumers.into_iter().map(lane).collect(),
            favourite,
            inbox: None,
            generation: nats.generation(),
            next_pull: 1,
            overbooked: false,
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
            self.forget_lost_pulls();
            self.accept_what_is_there()?;
            if self.lanes.iter().any(|lane| !lane.arrived.is_empty()) {
                return Ok(self.take(max));
            }
            self.ask_for(max).await?;
            // Looks up now and then, so that lost requests are replaced.
            let until = deadline.min(Instant::now() + ANSWER_GRACE);
            match tokio::time::timeout_at(until, next_arrival(&mut self.inbox)).await {
                Ok(message) => self.accept(message)?,
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
        if self.used_at.elapsed() > idle && self.lanes.iter().any(|l| l.credit() > 0 || !l.arrived.is_empty()) {
            self.give_back();
        }
    }

    /// Takes what has arrived; what is above `max` goes back at once.
    fn take(&mut self, max: usize) -> Vec<Arrived> {
        let mut taken = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let count = lane.arrived.len().min(max - taken.len());
            if count > 0 {
                self.favourite = index;
            }
            taken.extend(lane.arrived.drain(..count));
        }
        if self.overbooked || self.lanes.iter().any(|lane| !lane.arrived.is_empty()) {
            self.give_back();
        }
        self.used_at = Instant::now();
        taken
    }

    /// Withdraws all credit, and returns what has arrived or still arrives on it. Without interest in the inbox the
    /// broker drops the standing requests.
    fn give_back(&mut self) {
        self.overbooked = false;
        let mut rest = Vec::new();
        for lane in &mut self.lanes {
            lane.pulls.clear();
            lane.backlog = false;
            rest.extend(lane.arrived.drain(..).map(|arrived| arrived.ack));
        }
        let nats = self.nats.clone();
        let inbox = self.inbox.take();
        tokio::spawn(async move {
            for ack in rest {
                let _ = nats.publish(&ack, NAK).await;
            }
            if let Some(inbox) = inbox {
                return_all(&nats, inbox.arrivals).await;
            }
        });
    }

    fn forget_lost_pulls(&mut self) {
        let now = Instant::now();
        let reconnected = self.generation.has_changed().unwrap_or(false);
        if reconnected {
            self.generation.mark_unchanged();
        }
        for lane in &mut self.lanes {
            lane.pulls.retain(|pull| !reconnected && pull.lost_at > now);
        }
    }

    /// Hands out room for `max` messages in all, as far as that is not done yet.
    async fn ask_for(&mut self, max: usize) -> Result<(), NatsError> {
        let now = Instant::now();
        let mut free = max.saturating_sub(self.lanes.iter().map(Lane::credit).sum());
        if let Some(busy) = self.lanes.iter().position(|lane| lane.backlog) {
            // With credit out, its messages are on their way already.
            if free == 0 || self.lanes[busy].credit() > 0 {
                return Ok(());
            }
            let urgent = (0..busy).find(|&i| self.lanes[i].credit() == 0 && !self.lanes[i].believed_empty(now));
            return self.pull(urgent.unwrap_or(busy), free, None).await;
        }
        let others = self.lanes.len() - 1;
        if max <= others {
            return self.ask_for_few(max, now).await;
        }
        for lane in 0..=others {
            if lane != self.favourite && free > 0 && self.lanes[lane].credit() == 0 {
                self.pull(lane, 1, Some(STANDING)).await?;
                free -= 1;
            }
        }
        let (target, out) = (max - others, self.lanes[self.favourite].credit());
        let want = target.saturating_sub(out).min(free);
        // Half of it may be used up before it is renewed, so that one request serves many messages.
        if want > 0 && out * 2 <= target { self.pull(self.favourite, want, Some(STANDING)).await } else { Ok(()) }
    }

    /// With less room than lanes: looks into each lane in turn, then waits on all of them; should messages come on
    /// several at once, the rest is given back.
    async fn ask_for_few(&mut self, max: usize, now: Instant) -> Result<(), NatsError> {
        if self.lanes.iter().any(|lane| lane.pulls.iter().any(|pull| !pull.standing)) {
            return Ok(());
        }
        let unknown = |lane: &Lane| lane.empty_at.is_none_or(|at| now.duration_since(at) > STANDING);
        if let Some(lane) = self.lanes.iter().position(|lane| lane.credit() == 0 && unknown(lane)) {
            self.pull(lane, max, None).await?;
        } else {
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].credit() == 0 {
                    self.pull(lane, max, Some(STANDING)).await?;
                }
            }
        }
        self.overbooked = self.lanes.iter().map(Lane::credit).sum::<usize>() > max;
        Ok(())
    }

    /// Asks for what is there now, or for what comes within `standing`.
    async fn pull(&mut self, lane: usize, batch: usize, standing: Option<Duration>) -> Result<(), NatsError> {
        let client = &self.nats.inner.client;
        let prefix = match &self.inbox {
            Some(inbox) => inbox.prefix.clone(),
            None => {
                let prefix = client.new_inbox();
                let arrivals = client.subscribe(format!("{prefix}.>")).await;
                let arrivals = arrivals.map_err(|e| NatsError::interrupted(&self.what, e.to_string()))?;
                self.inbox = Some(Inbox { prefix: prefix.clone(), arrivals });
                prefix
            }
        };
        let id = self.next_pull;
        self.next_pull += 1;
        let request = match standing {
            Some(expires) => PullRequest::waiting(batch, expires),
            None => PullRequest::at_once(batch),
        };
        let lost_at = Instant::now() + standing.unwrap_or_default() + ANSWER_GRACE;
        // Counted before it is sent: should this future be dropped in between, too much is counted, not too little.
        self.lanes[lane].pulls.push_back(Pull { id, left: batch, standing: standing.is_some(), lost_at });
        let to = self.lanes[lane].pull_subject.clone();
        let sent = client.publish_with_reply(to, format!("{prefix}.{lane}.{id}"), request.payload()).await;
        sent.map_err(|e| NatsError::interrupted(&self.what, e.to_string()))
    }

    fn accept_what_is_there(&mut self) -> Result<(), NatsError> {
        while let Some(message) = next_arrival(&mut self.inbox).now_or_never() {
            self.accept(message)?;
        }
        Ok(())
    }

    fn accept(&mut self, message: Option<Message>) -> Result<(), NatsError> {
        let Some(message) = message else {
            self.inbox = None;
            return Err(NatsError::interrupted(&self.what, "the connection is closed"));
        };
        let now = Instant::now();
        match status_of(&message) {
            None => self.deliver(message, now),
            Some(Status::PullOver { .. } | Status::NotFound) => {
                if let Some((lane, id)) = self.pull_of(&message.subject) {
                    let lane = &mut self.lanes[lane];
                    lane.pulls.retain(|pull| pull.id != id);
                    lane.backlog = false;
                    lane.empty_at = Some(now);
                }
            }
            Some(Status::Gone { reason }) => {
                // With a new inbox, so that the same news about the other lanes does not come as another error later.
                self.give_back();
                return Err(NatsError::interrupted(&self.what, reason));
            }
            Some(Status::Heartbeat { .. } | Status::EndOfBatch { .. }) => {}
        }
        Ok(())
    }

    fn deliver(&mut self, message: Message, now: Instant) {
        // Only the broker knows our inbox; anything else in it is no delivery.
        let Some(ack) = message.reply.clone() else { return };
        let Some(info) = AckSubject::parse(&ack) else { return };
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.consumer == info.consumer) else { return };
        if let Some(pull) = lane.pulls.front_mut() {
            pull.left -= 1;
            if pull.left == 0 {
                lane.pulls.pop_front();
            }
        }
        lane.backlog = info.pending > 0;
        if info.pending == 0 {
            lane.empty_at = Some(now);
        }
        let (deliveries, seq) = (info.deliveries, info.stream_seq);
        lane.arrived.push_back(Arrived { ack, deliveries, seq, message });
    }

    /// Lane and number of the request that a status answers.
    fn pull_of(&self, subject: &str) -> Option<(usize, u64)> {
        let rest = subject.strip_prefix(&self.inbox.as_ref()?.prefix)?.strip_prefix('.')?;
        let (lane, id) = rest.split_once('.')?;
        let lane: usize = lane.parse().ok()?;
        (lane < self.lanes.len()).then_some((lane, id.parse().ok()?))
    }
}

/// The next arrival; never comes while there is no inbox.
async fn next_arrival(inbox: &mut Option<Inbox>) -> Option<Message> {
    match inbox {
        Some(inbox) => inbox.arrivals.next().await,
        None => std::future::pending().await,
    }
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
