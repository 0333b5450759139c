//! An operator says what a step gave, or goes on behind it.
//!
//! `set` is like the report of a worker: the output goes through `output` and `export`, and the step can be undone. `skip` is like a
//! step that was left out: what is given flows on as it is.

use std::sync::Arc;

use stepmill_protocol::Value;

use super::super::report::give;
use super::judge::Place;
use crate::frame::{FrameId, State};
use crate::scope::Site;
use crate::values::Held;
use crate::walk::Walk;

pub(super) fn set(walk: &mut Walk<'_>, place: &Place, output: &Value) {
    let output = Arc::new(output.clone());
    match prepare(walk, place) {
        Some(Ready::Frame(id)) => match walk.live.frames.get(&id).map(|frame| &frame.state) {
            Some(State::Call(_)) => give(walk, id, output),
            Some(_) => {
                let given = walk.values.keep(output);
                walk.leave(id, given);
            }
            None => {}
        },
        Some(Ready::Entry) => {
            let Place::Entering(at, node, raw, _) = place else { return };
            let Some(node) = walk.plan.get(*node) else { return };
            let site = Site { input: Some(raw), ..Site::entry(*at, node, walk.at, raw) };
            let given = walk.values.keep(output);
            walk.pass(&site, node, given, node.then);
        }
        None => {}
    }
}

pub(super) fn skip(walk: &mut Walk<'_>, place: &Place, output: &Value) {
    let output = walk.values.keep(Arc::new(output.clone()));
    match prepare(walk, place) {
        Some(Ready::Frame(id)) => {
            // Of one that has failed that was told.
            if !matches!(place, Place::Failed(..)) {
                walk.tell_cancelled(walk.live.frames.get_key_value(&id).into_iter());
            }
            skip_frame(walk, id, output);
        }
        Some(Ready::Entry) => {
            let Place::Entering(at, node, ..) = place else { return };
            let Some(node) = walk.plan.get(*node) else { return };
            walk.after(*at, node, output, node.then);
        }
        None => {}
    }
}

fn skip_frame(walk: &mut Walk<'_>, id: FrameId, output: Held) {
    let Some(frame) = walk.close(id) else { return };
    let Some(node) = walk.plan.get(frame.node) else { return };
    walk.after(frame.place, node, output, node.then);
}

/// Where the token is taken up.
enum Ready {
    /// At a task with nothing below it.
    Frame(FrameId),
    /// Before a task.
    Entry,
}

/// The run goes on, with nothing left below the step.
fn prepare(walk: &mut Walk<'_>, place: &Place) -> Option<Ready> {
    match place {
        Place::Run => None,
        Place::Waiting(id) | Place::Delayed(id) => {
            walk.prune(*id);
            Some(Ready::Frame(*id))
        }
        Place::Aside(id, since) => {
            walk.revive(*since, None, true);
            walk.prune(*id);
            Some(Ready::Frame(*id))
        }
        Place::Failed(id, since) => {
            walk.tell_nobody();
            walk.revive(*since, None, false);
            walk.prune(*id);
            Some(Ready::Frame(*id))
        }
        Place::Entering(_, _, _, since) => {
            walk.tell_nobody();
            walk.revive(*since, None, false);
            Some(Ready::Entry)
        }
    }
}
