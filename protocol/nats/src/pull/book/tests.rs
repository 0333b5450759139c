//! The book against a small broker of its own: requests that are served in turn, other workers that take messages, ends
//! that come late.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LANES: usize = 3;
const NORMAL: usize = 1;
/// How long the tasks of one round take.
const ROUND: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    left: usize,
    ends: Instant,
}

/// Answers at once, like a broker without distance.
#[derive(Debug)]
struct Broker {
    messages: [u64; LANES],
    waiting: [VecDeque<Waiting>; LANES],
}

#[derive(Debug)]
struct World {
    now: Instant,
    book: Book,
    broker: Broker,
    slots: usize,
    /// Arrived and not handed on yet; slots taken by tasks.
    arrived: usize,
    running: usize,
    given_back: usize,
}

impl World {
    fn new(slots: usize) -> Self {
        let broker = Broker { messages: [0; LANES], waiting: Default::default() };
        let book = Book::new(LANES, NORMAL);
        Self { now: Instant::now(), book, broker, slots, arrived: 0, running: 0, given_back: 0 }
    }

    fn free(&self) -> usize {
        self.slots - self.running
    }

    /// What a fetch does until it has something or must wait.
    fn fetch(&mut self) {
        if self.free() == 0 {
            return;
        }
        for _ in 0..100 {
            self.deliver();
            if self.arrived > 0 {
                return self.take();
            }
            match self.book.next(self.free(), self.now) {
                Move::Send(ask) => self.hear(ask),
                Move::Withdraw => self.withdraw(),
                Move::Wait(None) => return,
                Move::Wait(Some(until)) => {
                    assert!(until > self.now);
                    self.pass(until - self.now);
                }
            }
        }
        panic!("it never comes to rest: {self:?}");
    }

    fn take(&mut self) {
        let taken = self.arrived.min(self.free());
        self.given_back += self.arrived - taken;
        self.running += taken;
        self.arrived = 0;
    }

    fn withdraw(&mut self) {
        self.book.withdrawn();
        self.broker.waiting = Default::default();
    }

    fn hear(&mut self, ask: Ask) {
        assert!(ask.batch > 0 && ask.lane < LANES);
        if ask.kind == Kind::Look && self.broker.messages[ask.lane] == 0 {
            self.book.ended(Kind::Look, ask.lane, ask.id, usize::MAX, self.now);
            return;
        }
        let ends = self.now + STANDING;
        self.broker.waiting[ask.lane].push_back(Waiting { ask, left: ask.batch, ends });
    }

    fn deliver(&mut self) {
        for lane in 0..LANES {
            while self.broker.messages[lane] > 0
                && let Some(mut request) = self.broker.waiting[lane].pop_front()
            {
                self.broker.messages[lane] -= 1;
                request.left -= 1;
                self.book.delivered(request.ask.kind, lane, self.broker.messages[lane], self.now);
                self.arrived += 1;
                if request.left > 0 {
                    self.broker.waiting[lane].push_back(request);
                }
            }
            self.end(lane, |request| request.ask.kind == Kind::Look);
        }
    }

    fn end(&mut self, lane: usize, over: impl Fn(&Waiting) -> bool) {
        let (ended, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.broker.waiting[lane]).into_iter().partition(over);
        self.broker.waiting[lane] = kept;
        for Waiting { ask, left, .. } in ended {
            let said = if ask.kind == Kind::Look { usize::MAX } else { left };
            self.book.ended(ask.kind, lane, ask.id, said, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for lane in 0..LANES {
            self.end(lane, |request| request.ends <= now);
        }
    }

    fn out_at_broker(&self) -> usize {
        self.broker.waiting.iter().flatten().map(|request| request.left).sum()
    }

    fn works_off(&mut self) -> usize {
        let mut rounds = 0;
        while self.broker.messages.iter().any(|n| *n > 0) {
            self.fetch();
            assert!(self.running > 0, "messages and room, and nothing comes: {self:?}");
            self.running = 0;
            rounds += 1;
            self.pass(ROUND);
        }
        rounds
    }
}

#[test]
fn a_backlog_is_worked_off_without_waiting() {
    for slots in [1, 2, 3, 8, 64] {
        let mut world = World::new(slots);
        world.broker.messages[NORMAL] = 1_000;
        let rounds = world.works_off();
        // In the beginning it is not known yet that the room of the other lanes lies idle.
        let beginning = (IDLE_AFTER.as_millis() / ROUND.as_millis()) as usize + LANES;
        assert!(rounds <= 1_000 / slots + beginning, "{rounds} rounds with {slots} slots");
    }
}

#[test]
fn all_slots_work_while_messages_wait() {
    let mut world = World::new(8);
    // Idle first: every lane holds some room.
    world.fetch();
    world.broker.messages[NORMAL] = 1_000;
    for _ in 0..50 {
        for _ in 0..LANES {
            world.fetch();
        }
        world.pass(STANDING / 10);
        world.running -= 1;
    }
    world.fetch();
    assert_eq!(world.running, 8);
}

#[test]
fn room_moves_to_a_burst_in_another_lane() {
    let mut world = World::new(64);
    world.fetch();
    assert_eq!(world.out_at_broker(), 64);
    world.broker.messages[0] = 64;
    for _ in 0..3 {
        world.fetch();
    }
    assert_eq!((world.running, world.given_back), (64, 0));
}

#[test]
fn the_urgent_are_looked_for_while_others_wait() {
    let mut world = World::new(1);
    world.broker.messages[2] = 10;
    world.fetch();
    world.pass(EMPTY_BELIEVED);
    world.broker.messages[0] = 1;
    world.running = 0;
    world.fetch();
    assert_eq!((world.broker.messages[0], world.broker.messages[2]), (0, 9));
}

#[test]
fn a_request_without_an_answer_is_made_again() {
    let mut world = World::new(4);
    world.fetch();
    world.broker.waiting = Default::default();
    world.broker.messages[NORMAL] = 2;
    world.fetch();
    assert_eq!(world.running, 0);
    world.pass(STANDING + ANSWER_GRACE);
    world.fetch();
    assert_eq!(world.running, 2);
}

#[derive(Clone, Debug)]
enum Event {
    Publish(usize, u64),
    Stolen(usize, u64),
    Pass(u64),
    Fetch,
    Done(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..LANES, 1..20_u64).prop_map(|(lane, n)| Event::Publish(lane, n)),
        (0..LANES, 1..20_u64).prop_map(|(lane, n)| Event::Stolen(lane, n)),
        (1..1_500_u64).prop_map(Event::Pass),
        Just(Event::Fetch),
        Just(Event::Fetch),
        (1..10_usize).prop_map(Event::Done),
    ]
}

proptest! {
    #[test]
    fn the_book_agrees_with_the_broker(slots in 1..20_usize, events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new(slots);
        for event in events {
            match event {
                Event::Publish(lane, n) => world.broker.messages[lane] += n,
                Event::Stolen(lane, n) => {
                    world.broker.messages[lane] = world.broker.messages[lane].saturating_sub(n);
                }
                Event::Pass(ms) => world.pass(Duration::from_millis(ms)),
                Event::Fetch => world.fetch(),
                Event::Done(n) => world.running = world.running.saturating_sub(n),
            }
            prop_assert_eq!(world.book.out(), world.out_at_broker());
            // Never much more than the slots: what comes too much is handed to and fro.
            prop_assert!(world.book.out() <= slots + OVERBOOKED_MAX.max(LANES * (LANES - 1)));
        }
        world.works_off();
    }
}
