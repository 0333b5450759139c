//! The message of a dispatch is gone though nothing was reported: the step is dispatched anew, in the same visit, pass
//! and attempt.

use stepmill_protocol::CommandId;
use stepmill_protocol::api::Folded;

use crate::advance::ignored;
use crate::frame::State;
use crate::walk::Walk;

/// A dispatch of a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, id: CommandId) -> Folded {
    let run = walk.head.id;
    let frame = walk.live.calls.get(&id.visit).copied();
    let state = frame.and_then(|frame| walk.live.frames.get_mut(&frame)).map(|frame| &mut frame.state);
    let Some(State::Call(call)) = state else { return ignored(format!("dispatch {id} is settled")) };
    if call.started || call.pool.is_system() {
        return ignored(format!("dispatch {id} is of no queue"));
    }
    if call.id(run) != id {
        return ignored(format!("dispatch {id} is settled; {} is open", call.id(run)));
    }
    call.dispatch = call.dispatch.saturating_add(1);
    call.not_before = None;
    let (anew, pool, priority) = (call.id(run), call.pool.clone(), call.priority);
    walk.withdraw(id);
    walk.dispatch(anew, pool, priority);
    Folded::Applied
}
