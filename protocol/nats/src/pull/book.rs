//! How much room has been handed to the broker, and where the next request should go. Knows no connection: it is told
//! what was delivered and what ended, and answers with the next move.
//!
//! Two kinds of requests. A standing one waits at the broker, so that a message that comes needs no further round trip;
//! the broker serves all standing requests of a consumer in turn and says at the end of each how much of it was left, so
//! only their sum per lane is known. A look is answered at once with what is there; there is never more than one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long a standing request stands. Short, so that credit moves to where the messages are.
pub(super) const STANDING: Duration = Duration::from_secs(2);
/// The broker answers each request; one without an answer so long after its end was lost.
pub(super) const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// How long "nothing there" is believed of a lane while another one has messages.
const EMPTY_BELIEVED: Duration = Duration::from_millis(10);

/// Room that may lie idle with other lanes while one has messages; it is handed out once more. What comes too much goes
/// back to the broker, message by message, so this bounds how often one message can be handed to and fro.
const OVERBOOKED_MAX: usize = 8;
/// Room counts as idle when the broker has had it for so long; before, its messages may be on their way.
const IDLE_AFTER: Duration = Duration::from_millis(20);

/// A request to be sent. It counts from the moment at which it is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) lane: usize,
    pub(super) id: u64,
    pub(super) batch: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Waits for messages, [`STANDING`] long.
    Standing,
    /// Takes what is there.
    Look,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Send(Ask),
    /// Room lies idle with one lane while another one has messages: take all of it back.
    Withdraw,
    /// Enough is out; until then, where that alone changes something.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Request {
    id: u64,
    batch: usize,
    idle_at: Instant,
    lost_at: Instant,
}

#[derive(Debug, Default)]
struct Lane {
    /// What its standing requests may still bring.
    standing: usize,
    /// Those that have not been answered; some may be used up, which the broker does not say.
    requests: VecDeque<Request>,
    /// The broker said that it has more.
    backlog: bool,
    /// When it last said that it has nothing.
    empty_at: Option<Instant>,
}

impl Lane {
    fn known_empty(&self, now: Instant, within: Duration) -> bool {
        self.empty_at.is_some_and(|at| now.duration_since(at) < within)
    }

    /// When all its room counts as idle.
    fn idle_at(&self) -> Option<Instant> {
        self.requests.back().map(|r| r.idle_at)
    }

    fn forget_lost(&mut self, now: Instant) {
        while self.requests.front().is_some_and(|r| r.lost_at <= now) {
            self.requests.pop_front();
        }
        self.standing = self.standing.min(self.requests.iter().map(|r| r.batch).sum());
    }
}

#[derive(Debug)]
struct Look {
    lane: usize,
    id: u64,
    left: usize,
    lost_at: Instant,
}

/// The requests of one puller. Lanes are numbered from the most urgent.
#[derive(Debug)]
pub(super) struct Book {
    lanes: Vec<Lane>,
    look: Option<Look>,
    /// Where most room goes while nothing is known: the lane that had messages last.
    favourite: usize,
    next_id: u64,
}

impl Book {
    pub(super) fn new(lanes: usize, favourite: usize) -> Self {
        Self { lanes: (0..lanes).map(|_| Lane::default()).collect(), look: None, favourite, next_id: 1 }
    }

    /// How many messages may still come.
    pub(super) fn out(&self) -> usize {
        self.lanes.iter().map(|lane| lane.standing).sum::<usize>() + self.look.as_ref().map_or(0, |look| look.left)
    }

    /// What to do for somebody who has room for `max` messages, with nothing arrived. Asked again after each request.
    pub(super) fn next(&mut self, max: usize, now: Instant) -> Move {
        for lane in &mut self.lanes {
            lane.forget_lost(now);
        }
        self.look.take_if(|look| look.lost_at <= now);
        if self.look.is_some() {
            return Move::Wait(None);
        }
        let free = max.saturating_sub(self.out());
        match self.lanes.iter().position(|lane| lane.backlog) {
            // With standing room, its messages are on their way, or others took them.
            Some(busy) if self.lanes[busy].standing == 0 => self.fetch_from(busy, max, now),
            _ if max < self.lanes.len() => self.spread_little(max, now),
            _ => self.spread(max, free, now),
        }
    }

    /// Messages wait in this lane. More urgent ones are looked into first, now and then.
    fn fetch_from(&mut self, busy: usize, max: usize, now: Instant) -> Move {
        let others = self.lanes.iter().filter(|lane| !lane.backlog && lane.standing > 0);
        let idle: usize = others.clone().filter(|lane| lane.idle_at() <= Some(now)).map(|lane| lane.standing).sum();
        if idle > OVERBOOKED_MAX {
            return Move::Withdraw;
        }
        let free = max.saturating_sub(self.out() - idle);
        if free == 0 {
            // It is on its way from another lane, or turns out to lie idle there.
            return Move::Wait(others.filter_map(Lane::idle_at).filter(|at| *at > now).min());
        }
        let urgent = |lane: &Lane| lane.standing == 0 && !lane.known_empty(now, EMPTY_BELIEVED);
        let lane = self.lanes[..busy].iter().position(urgent).unwrap_or(busy);
        self.ask(Kind::Look, lane, free, now)
    }

    /// Nothing is known to wait: one place for each lane and all others for the favourite.
    fn spread(&mut self, max: usize, free: usize, now: Instant) -> Move {
        if free == 0 {
            return Move::Wait(None);
        }
        let bare = |(i, lane): (usize, &Lane)| i != self.favourite && lane.standing == 0;
        if let Some(lane) = self.lanes.iter().enumerate().position(bare) {
            return self.ask(Kind::Standing, lane, 1, now);
        }
        let (target, out) = (max + 1 - self.lanes.len(), self.lanes[self.favourite].standing);
        let want = target.saturating_sub(out).min(free);
        // Half of it may be used up before it is renewed, so that one request serves many messages.
        if want > 0 && out * 2 <= target {
            self.ask(Kind::Standing, self.favourite, want, now)
        } else {
            Move::Wait(None)
        }
    }

    /// With less room than lanes: looks into each lane in turn, then waits on all of them; should messages come on
    /// several at once, the rest is given back.
    fn spread_little(&mut self, max: usize, now: Instant) -> Move {
        let unknown = |lane: &Lane| lane.standing == 0 && !lane.known_empty(now, STANDING);
        if let Some(lane) = self.lanes.iter().position(unknown) {
            return self.ask(Kind::Look, lane, max, now);
        }
        match self.lanes.iter().position(|lane| lane.standing == 0) {
            Some(lane) => self.ask(Kind::Standing, lane, max, now),
            None => Move::Wait(None),
        }
    }

    fn ask(&mut self, kind: Kind, lane: usize, batch: usize, now: Instant) -> Move {
        let id = self.next_id;
        self.next_id += 1;
        match kind {
            Kind::Standing => {
                self.lanes[lane].standing += batch;
                let lost_at = now + STANDING + ANSWER_GRACE;
                self.lanes[lane].requests.push_back(Request { id, batch, idle_at: now + IDLE_AFTER, lost_at });
            }
            Kind::Look => self.look = Some(Look { lane, id, left: batch, lost_at: now + ANSWER_GRACE }),
        }
        Move::Send(Ask { kind, lane, id, batch })
    }

    /// A message came on a request of this kind; `pending` more wait in its lane.
    pub(super) fn delivered(&mut self, kind: Kind, lane: usize, pending: u64, now: Instant) {
        let Some(from) = self.lanes.get_mut(lane) else { return };
        match kind {
            Kind::Standing => from.standing = from.standing.saturating_sub(1),
            Kind::Look => {
                if let Some(look) = &mut self.look {
                    look.left -= 1;
                }
                self.look.take_if(|look| look.left == 0);
            }
        }
        from.backlog = pending > 0;
        if pending == 0 {
            from.empty_at = Some(now);
        }
    }

    /// A request is over, with so many messages not delivered (for a standing one; the maximum where that is not said).
    pub(super) fn ended(&mut self, kind: Kind, lane: usize, id: u64, undelivered: usize, now: Instant) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        match kind {
            Kind::Standing => {
                let Some(index) = of.requests.iter().position(|r| r.id == id) else { return };
                let batch = of.requests.remove(index).map_or(0, |r| r.batch);
                of.standing = of.standing.saturating_sub(undelivered.min(batch));
            }
            Kind::Look => {
                if self.look.take_if(|look| look.id == id && look.lane == lane).is_none() {
                    return;
                }
            }
        }
        of.backlog = false;
        of.empty_at = Some(now);
    }

    /// Messages of this lane were handed on.
    pub(super) const fn prefer(&mut self, lane: usize) {
        self.favourite = lane;
    }

    /// All requests were taken back. What is known of the lanes stays.
    pub(super) fn withdrawn(&mut self) {
        for lane in &mut self.lanes {
            lane.standing = 0;
            lane.requests.clear();
        }
        self.look = None;
    }
}

#[cfg(test)]
mod tests;
