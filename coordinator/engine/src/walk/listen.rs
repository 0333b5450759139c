//! `listen`: takes events that fit, one by one, and hands them to its `foreach`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::expression::{ExpressionError, budget};
use stepmill_definition::plan::{
    Consumption, Filter, Listen as ListenNode, Mode, Node, NodeKind, Plan, Template, Until,
};
use stepmill_protocol::{Millis, Occurrence, Timestamp, limit};

use super::Walk;
use crate::bin::Bin;
use crate::errand::Errands;
use crate::event::{Ear, digest_of, fits_alone, found, is_wanted, pin, read};
use crate::fault::Fault;
use crate::frame::{EventPlace, Frame, FrameId, Listen, Place, State};
use crate::mention::Texts;
use crate::run::{Live, Phase, Run};
use crate::scope::{Site, check};
use crate::values::{Held, Values};

/// What an event is to one task that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// This filter takes it.
    Filter(usize),
    /// This filter cannot be asked: its expressions do more than they may.
    Broken(usize),
    /// It was taken before.
    Seen,
    /// It does not fit, or the task began to listen later.
    None,
}

impl<'p> Walk<'p> {
    pub(super) fn enter_listen(
        &mut self,
        site: &Site<'_>,
        node: &'p Node,
        listen: &'p ListenNode,
        raw: &Held,
        input: &Held,
    ) -> Result<(), Fault> {
        if listen.events.is_empty() {
            let output = self.values.make(Arc::new(Value::Array(Vec::new())))?;
            self.pass(site, node, output, node.then);
            return Ok(());
        }
        let expects = budget::together(|| {
            let one = |template: Option<&Template>| {
                let value = template.map(|t| self.evaluate(site, t, input.value())).transpose()?;
                Ok(value.map(|v| digest_of(&v)))
            };
            listen.events.filters.iter().map(|filter| pin(filter).map(one).collect()).collect::<Result<_, Fault>>()
        })?;
        let state = Listen {
            expects,
            correlated: BTreeMap::new(),
            since: self.listens_since(),
            floor: self.listens_above(),
            seen: VecDeque::new(),
            met: BTreeSet::new(),
            consumed: Vec::new(),
            bytes: 0,
            count: 0,
            queue: VecDeque::new(),
            current: None,
            closing: false,
        };
        let opening = self.opening(site, node, raw, input)?;
        self.open(opening, State::Listen(Box::new(state)));
        Ok(())
    }

    /// From when on events count for a task that begins to listen now. Those that come close behind the one that led here are not missed.
    fn listens_since(&self) -> Timestamp {
        let back = self.head.rules().listens_back();
        match self.event {
            Some((stored_at, _)) if back == Millis(0) => stored_at,
            Some((stored_at, _)) => stored_at.min(self.at).minus(back),
            None => self.at.minus(back),
        }
    }

    /// The place up to which events are done with for it.
    fn listens_above(&self) -> EventPlace {
        if self.head.rules().remembers_what_it_heard() { self.live.heard } else { self.event.unwrap_or_default() }
    }

    /// What an event is to the task that `id` is the frame of.
    pub(crate) fn fit(&self, id: FrameId, event: &Occurrence) -> Fit {
        let Some((frame, node, listen, state)) = self.listening(id) else { return Fit::None };
        if event.stored_at < state.since || state.closing {
            return Fit::None;
        }
        let mark = mark(event);
        if is_behind((event.stored_at, event.seq), state.floor) || state.seen.iter().any(|(_, seen)| *seen == mark) {
            return Fit::Seen;
        }
        let events = &listen.events;
        // The `until` comes first: what ends the task is not part of its output.
        let order = (events.own..events.filters.len()).chain(0..events.own);
        for filter in order.filter(|f| !state.met.contains(&(*f as u32))) {
            match budget::filter(|| self.fits(frame, node, events, state, filter, event)) {
                Ok(true) => return Fit::Filter(filter),
                Ok(false) => {}
                Err(_) => return Fit::Broken(filter),
            }
        }
        Fit::None
    }

    /// An event has come that a filter of the task cannot be held against: the task fails with what it said.
    pub(crate) fn fail_filter(&mut self, id: FrameId, number: usize, event: &Occurrence) {
        let Some((frame, node, listen, state)) = self.listening(id) else { return };
        let asked = budget::filter(|| self.fits(frame, node, &listen.events, state, number, event));
        if let Err(error) = asked {
            self.prune(id);
            self.fail(id, error.into());
        }
    }

    fn fits(
        &self,
        frame: &Frame,
        node: &Node,
        events: &Consumption,
        state: &Listen,
        number: usize,
        event: &Occurrence,
    ) -> Result<bool, ExpressionError> {
        let Some(filter) = events.filters.get(number) else { return Ok(false) };
        if !fits_alone(filter, &event.event)? {
            return Ok(false);
        }
        let Some(values) = found(filter, &event.event)? else { return Ok(false) };
        let expects = expected(events, state, number);
        if !expects.iter().zip(&values).all(|(expected, value)| expected.is_none_or(|e| e == *value)) {
            return Ok(false);
        }
        match &filter.data {
            Some(template) => {
                let (data, texts) = (event.event.data(), Texts::default().template(template));
                if self.loosely && texts.mention("context") {
                    return Ok(true);
                }
                let variables = self.variables(&Site::inside(node, frame), &texts);
                is_wanted(data, template.evaluate(data, &variables).map(|v| v.as_ref().clone()))
            }
            None => Ok(true),
        }
    }

    /// Takes an event that fits.
    pub(crate) fn take_event(&mut self, id: FrameId, filter: usize, event: &Occurrence) {
        if let Err(fault) = self.consume(id, filter, event) {
            self.prune(id);
            self.fail(id, fault);
        }
    }

    fn consume(&mut self, id: FrameId, number: usize, event: &Occurrence) -> Result<(), Fault> {
        let Some((_, node, listen, _)) = self.listening(id) else { return Ok(()) };
        let events = &listen.events;
        let is_own = number < events.own;
        let value = if is_own { Some(self.values.make(Arc::new(read(&event.event, events.read)))?) } else { None };
        let Some(state) = self.listen_state(id) else { return Ok(()) };
        state.seen.push_back(((event.stored_at, event.seq), mark(event)));
        if state.seen.len() > limit::LISTEN_REMEMBERED_MAX
            && let Some((forgotten, _)) = state.seen.pop_front()
        {
            state.floor = farther(state.floor, forgotten);
        }
        if let (Some(filter), Some(values)) =
            (events.filters.get(number), events.filters.get(number).and_then(|f| values_of(f, event)))
        {
            let skipped = values.len() - filter.correlate.len();
            for (key, value) in filter.correlate.iter().zip(&values[skipped..]) {
                if key.expect.is_none() {
                    state.correlated.entry(key.key.to_string()).or_insert(*value);
                }
            }
        }
        let (mode, all) = match (is_own, &events.until) {
            (true, _) => (events.mode, 0..events.own),
            (false, Some(Until::Consumed(mode))) => (*mode, events.own..events.filters.len()),
            (false, Some(Until::Never | Until::Condition(_)) | None) => (Mode::One, 0..0),
        };
        let enough = match mode {
            Mode::One => true,
            Mode::All => {
                state.met.insert(number as u32);
                all.clone().all(|f| state.met.contains(&(f as u32)))
            }
        };
        if enough && !(is_own && events.goes_on()) {
            state.closing = true;
        }
        let Some(value) = value else { return self.settle_listen(id) };
        if listen.foreach.is_some() {
            state.queue.push_back(value);
            if state.queue.len() > limit::LISTEN_QUEUED_MAX {
                let max = limit::LISTEN_QUEUED_MAX;
                let detail = format!(
                    "{max} events wait for `foreach` already (LISTEN_QUEUED_MAX); make it faster or take fewer"
                );
                return Err(Fault::limit(detail));
            }
            self.room()?;
            return self.settle_listen(id);
        }
        self.keep(id, node, events, value)?;
        self.settle_listen(id)
    }

    /// Adds to the output, and asks the condition of the `until`.
    fn keep(&mut self, id: FrameId, node: &'p Node, events: &'p Consumption, value: Held) -> Result<(), Fault> {
        let never = matches!(events.until, Some(Until::Never));
        let Some(state) = self.listen_state(id) else { return Ok(()) };
        state.count = state.count.saturating_add(1);
        if never {
            // Its output can never be read.
            return Ok(());
        }
        state.bytes = state.bytes.saturating_add(value.bytes());
        state.consumed.push(value);
        let (count, bytes) = (state.consumed.len(), state.bytes);
        if count > limit::LISTEN_EVENTS_MAX || bytes > limit::VALUE_BYTES_MAX as u64 {
            let (max, max_bytes) = (limit::LISTEN_EVENTS_MAX, limit::VALUE_BYTES_MAX);
            return Err(Fault::limit(format!(
                "one `listen` keeps {max} events (LISTEN_EVENTS_MAX) and {max_bytes} bytes of them (VALUE_BYTES_MAX); \
                 use `foreach` with `until: ${{ false }}`, or `schedule.on`"
            )));
        }
        self.room()?;
        let Some(Until::Condition(condition)) = &events.until else { return Ok(()) };
        let Some((frame, _, _, state)) = self.listening(id) else { return Ok(()) };
        let site = Site::inside(node, frame);
        if self.holds(&site, condition, &array(&state.consumed))?
            && let Some(state) = self.listen_state(id)
        {
            state.closing = true;
            // It is enough: what waits was not consumed.
            let rest = std::mem::take(&mut state.queue);
            rest.iter().for_each(|held| self.values.suspect(held.id()));
        }
        Ok(())
    }

    /// Goes on with the next event that waits, or ends the task when it is enough.
    fn settle_listen(&mut self, id: FrameId) -> Result<(), Fault> {
        let Some((_, _, listen, _)) = self.listening(id) else { return Ok(()) };
        let Some(state) = self.listen_state(id) else { return Ok(()) };
        if state.current.is_some() {
            return Ok(());
        }
        let Some(event) = state.queue.pop_front() else {
            if state.closing {
                let output = array(&state.consumed);
                let output = self.values.make(Arc::new(output))?;
                self.leave(id, output);
            }
            return Ok(());
        };
        let slot = state.count;
        state.current = Some(event.clone());
        match listen.foreach.as_ref().and_then(|f| f.body) {
            Some(body) => self.enter_next(Place { parent: Some(id), slot }, body, event),
            None => self.iterated(id, slot, event),
        }
        Ok(())
    }

    /// The `foreach` is done with an event.
    pub(crate) fn iterated(&mut self, id: FrameId, slot: u64, output: Held) {
        if let Err(fault) = self.end_iteration(id, slot, output) {
            self.prune(id);
            self.fail(id, fault);
        }
    }

    fn end_iteration(&mut self, id: FrameId, slot: u64, raw_output: Held) -> Result<(), Fault> {
        let Some((frame, node, listen, _)) = self.listening(id) else { return Ok(()) };
        let Some(foreach) = &listen.foreach else { return Ok(()) };
        let (flow, place) = (&foreach.flow, Place { parent: Some(id), slot });
        let site = Site { place, raw_output: Some(&raw_output), ..Site::inside(node, frame) };
        let output = match &flow.output_as {
            Some(template) => {
                let value = self.evaluate(&site, template, raw_output.value())?;
                self.values.make(value)?
            }
            None => raw_output.clone(),
        };
        check(flow.output_schema.as_ref(), "event's output", output.value())?;
        if let (Some(template), Some((frame, ..))) = (&flow.export_as, self.listening(id)) {
            let site =
                Site { place, raw_output: Some(&raw_output), output: Some(&output), ..Site::inside(node, frame) };
            let context = self.evaluate(&site, template, output.value())?;
            check(flow.export_schema.as_ref(), "exported context", &context)?;
            if self.live.context.is_some() {
                let context = self.values.make(context)?;
                if let Some(before) = self.live.context.replace(context) {
                    self.values.suspect(before.id());
                }
            }
        }
        if let Some(state) = self.listen_state(id)
            && let Some(event) = state.current.take()
        {
            let id = event.id();
            self.values.suspect(id);
        }
        self.keep(id, node, &listen.events, output)?;
        self.settle_listen(id)
    }

    fn listening(&self, id: FrameId) -> Option<(&Frame, &'p Node, &'p ListenNode, &Listen)> {
        let frame = self.live.frames.get(&id)?;
        let node = self.plan.get(frame.node)?;
        let (NodeKind::Listen(listen), State::Listen(state)) = (&node.kind, &frame.state) else { return None };
        Some((frame, node, listen, state))
    }

    fn listen_state(&mut self, id: FrameId) -> Option<&mut Listen> {
        match &mut self.live.frames.get_mut(&id)?.state {
            State::Listen(listen) => Some(listen),
            State::List
            | State::Scope
            | State::Loop(_)
            | State::Gather(..)
            | State::Fork(_)
            | State::Try(_)
            | State::Wait(_)
            | State::Call(_) => None,
        }
    }
}

/// What an event that a filter has taken has for it.
fn values_of(filter: &Filter, event: &Occurrence) -> Option<Vec<Bin<16>>> {
    budget::filter(|| found(filter, &event.event)).ok().flatten()
}

/// What a filter expects now: what it said when the task began, and what correlations have settled on since.
fn expected(events: &Consumption, state: &Listen, number: usize) -> Vec<Option<Bin<16>>> {
    let Some(filter) = events.filters.get(number) else { return Vec::new() };
    let mut expects = state.expects.get(number).cloned().unwrap_or_default();
    let skipped = expects.len().saturating_sub(filter.correlate.len());
    for (key, expected) in filter.correlate.iter().zip(expects.iter_mut().skip(skipped)) {
        if expected.is_none() {
            *expected = state.correlated.get(key.key.as_ref()).copied();
        }
    }
    expects
}

/// Whether an event lies at a place or before it. A higher sequence is later even when its time is lower: clocks go back. A lower one with a
/// higher time is later too: the stream lost its end, or was made anew.
fn is_behind(event: EventPlace, place: EventPlace) -> bool {
    event.0 <= place.0 && event.1 <= place.1
}

/// The place behind which neither of two lies.
pub(crate) fn farther(one: EventPlace, other: EventPlace) -> EventPlace {
    (one.0.max(other.0), one.1.max(other.1))
}

/// Stands for source and id of an event.
fn mark(event: &Occurrence) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(event.event.source().as_bytes());
    hasher.update(&[0]);
    hasher.update(event.event.id().as_bytes());
    let mut low = [0; 8];
    low.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(low)
}

fn array(held: &[Held]) -> Value {
    Value::Array(held.iter().map(|h| h.value().as_ref().clone()).collect())
}

/// The state of a run, lent to a walk: given back however the walk ends, were it by a panic.
struct Lent<'r, 'p> {
    live: &'r mut Live,
    walk: Option<Walk<'p>>,
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        if let Some(walk) = &mut self.walk {
            std::mem::swap(self.live, &mut walk.live);
        }
    }
}

impl Run {
    /// Frames that listen and may still take an event.
    fn open_ears(&self) -> impl Iterator<Item = (FrameId, &Frame, &Listen)> {
        let live = match &self.phase {
            Phase::Live(live) => Some(live),
            Phase::Parked(..) | Phase::Ended(..) => None,
        };
        live.into_iter().flat_map(|live| {
            live.listening.iter().filter_map(|id| {
                let frame = live.frames.get(id)?;
                match &frame.state {
                    State::Listen(listen) if !listen.closing => Some((*id, frame, &**listen)),
                    State::Listen(_)
                    | State::List
                    | State::Scope
                    | State::Loop(_)
                    | State::Gather(..)
                    | State::Fork(_)
                    | State::Try(_)
                    | State::Wait(_)
                    | State::Call(_) => None,
                }
            })
        })
    }

    /// Since when it waits for events; none: it does not.
    #[must_use]
    pub fn listens_since(&self) -> Option<Timestamp> {
        self.ears_above(0)
    }

    /// Whether a task of it takes this event, as far as that can be said before everything is folded that comes first; when in doubt, yes.
    /// Changes nothing: the state is lent to the walk that looks.
    #[must_use]
    pub fn takes(&mut self, plan: &Plan, event: &Occurrence) -> bool {
        let Phase::Live(live) = &mut self.phase else { return false };
        let (head, tally) = (self.head.clone(), self.tally.clone());
        let mut lent = Lent { live, walk: None };
        let state = std::mem::take(lent.live);
        let walk = Walk::new(plan, event.stored_at, head, tally, Values::default(), Errands::new(), state);
        let walk = lent.walk.insert(Walk { loosely: true, ..walk });
        walk.live.listening.iter().any(|id| matches!(walk.fit(*id, event), Fit::Filter(_) | Fit::Broken(_)))
    }

    /// Since when a task listens whose frame has a higher number.
    pub(crate) fn ears_above(&self, newest: u64) -> Option<Timestamp> {
        self.open_ears().filter(|(id, ..)| id.0 > newest).map(|(.., listen)| listen.since).min()
    }

    /// What it listens with.
    pub(crate) fn ears(&self, plan: &Plan) -> Vec<Ear> {
        let mut ears = Vec::new();
        for (id, frame, state) in self.open_ears() {
            let Some(NodeKind::Listen(listen)) = plan.get(frame.node).map(|n| &n.kind) else { continue };
            for number in (0..listen.events.filters.len()).filter(|n| !state.met.contains(&(*n as u32))) {
                let expects = expected(&listen.events, state, number).into_iter().collect();
                let (since, node) = (state.since, frame.node);
                ears.push(Ear { frame: id.0, since, node, filter: number, expects });
            }
        }
        ears
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use stepmill_protocol::{Event, RunId, Submitted};

    use super::*;

    #[test]
    fn a_run_has_its_state_back_from_a_walk_that_panicked() {
        let definition = "\
document: { dsl: '1.0.3', namespace: default, name: waits, version: '1.0.0' }
do: [{ paid: { listen: { to: { one: { with: { type: paid } } } } } }]";
        let plan = stepmill_definition::compile(definition).unwrap().plan;
        let (namespace, workflow, digest) = (plan.namespace.clone(), plan.name.clone(), plan.digest.clone());
        let (input, secret, engine) = (Value::Null, vec![1; 32], crate::ENGINE_VERSION);
        let (key, parent, cancelled) = (None, None, None);
        let submitted = Submitted { namespace, workflow, digest, input, secret, key, parent, engine, cancelled };
        let id = RunId(uuid::Uuid::from_u128(1));
        let mut run = crate::advance(&plan, id, None, Timestamp(1), &Event::Submitted(submitted)).run.unwrap();
        let before = run.encode().unwrap();
        let (head, tally) = (run.head.clone(), run.tally.clone());
        let Phase::Live(live) = &mut run.phase else { panic!("{:?}", run.phase) };
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let state = std::mem::take(live);
            let walk = Walk::new(&plan, Timestamp(2), head, tally, Values::default(), Errands::new(), state);
            let _lent = Lent { live, walk: Some(walk) };
            panic!("as an expression's could");
        }));
        assert!(panicked.is_err());
        assert_eq!(run.encode().unwrap(), before);
        assert!(run.listens_since().is_some());
    }

    #[test]
    fn a_later_sequence_is_later_though_the_clock_went_back() {
        let place = farther((Timestamp(1_000), 5), (Timestamp(900), 6));
        assert!(is_behind((Timestamp(1_000), 5), place) && is_behind((Timestamp(900), 6), place));
        assert!(!is_behind((Timestamp(950), 7), place));
        // The stream lost its end: another event has the sequence now.
        assert!(!is_behind((Timestamp(1_001), 6), place));
    }
}
