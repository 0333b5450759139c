//! A run has its next turn.

use stepmill_protocol::api::Folded;

use crate::advance::ignored;
use crate::walk::Walk;

/// The turn that a run on its way has asked for; the walk goes on by itself.
pub(crate) fn fold(walk: &mut Walk<'_>, number: u64) -> Folded {
    if walk.live.turn != Some(number) {
        return ignored(format!("the run does not wait for turn {number}"));
    }
    walk.live.turn = None;
    Folded::Applied
}
