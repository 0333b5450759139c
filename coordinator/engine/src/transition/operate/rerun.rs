//! An operator has a failed step done again, as a new visit.

use std::sync::Arc;

use stepmill_protocol::Value;

use super::judge::Place;
use crate::frame::{FrameId, State, TryPhase};
use crate::values::Held;
use crate::walk::Walk;

pub(super) fn carry_out(walk: &mut Walk<'_>, place: &Place, input: Option<&Value>) {
    let input = input.map(|value| walk.values.keep(Arc::new(value.clone())));
    match place {
        Place::Run | Place::Waiting(_) => {}
        Place::Delayed(id) => at_once(walk, *id, input),
        Place::Aside(id, since) => {
            walk.revive(*since, Some(*id), true);
            walk.visit_again(*id, input);
        }
        Place::Failed(id, since) => {
            walk.tell_nobody();
            walk.revive(*since, Some(*id), false);
            walk.visit_again(*id, input);
        }
        Place::Entering(place, node, raw, since) => {
            walk.tell_nobody();
            walk.revive(*since, None, false);
            walk.enter_next(*place, *node, input.unwrap_or_else(|| raw.clone()));
        }
    }
}

/// The next attempt does not wait any longer.
fn at_once(walk: &mut Walk<'_>, id: FrameId, input: Option<Held>) {
    let run = walk.head.id;
    match walk.live.frames.get_mut(&id).map(|frame| &mut frame.state) {
        Some(State::Call(call)) => {
            let before = call.id(run);
            call.dispatch = call.dispatch.saturating_add(1);
            call.not_before = None;
            if let Some(input) = input {
                call.with = input;
            }
            let (anew, pool, priority) = (call.id(run), call.pool.clone(), call.priority);
            walk.withdraw(before);
            walk.dispatch(anew, pool, priority);
        }
        Some(State::Try(t)) => {
            if let TryPhase::Delay(timer) = t.phase {
                walk.disarm(timer);
                walk.begin_pass(id);
            }
        }
        Some(
            State::List
            | State::Scope
            | State::Loop(_)
            | State::Gather(..)
            | State::Fork(_)
            | State::Wait(_)
            | State::Listen(_),
        )
        | None => {}
    }
}
