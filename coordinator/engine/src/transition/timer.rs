//! A timer's time has come.

use stepmill_protocol::TimerId;
use stepmill_protocol::api::Folded;
use stepmill_protocol::problem::Standard;

use crate::advance::ignored;
use crate::fault::Fault;
use crate::frame::Ends;
use crate::scope::workflow_path;
use crate::walk::Walk;

/// A timer of a run that is on its way.
pub(crate) fn fold(walk: &mut Walk<'_>, timer: TimerId) -> Folded {
    let Some(armed) = walk.live.timers.get(&timer).copied() else {
        return ignored(format!("nothing waits for timer {timer} any more"));
    };
    walk.disarm(timer);
    // A clock that is ahead of the log's has said so: for what follows it is not earlier than that.
    walk.at = walk.at.max(armed.due);
    match armed.ends {
        Ends::Run => {
            let fault = Fault::standard(Standard::Timeout, "the workflow took longer than its `timeout` allows");
            walk.fault_run(fault.at(&workflow_path()).problem);
        }
        Ends::Task(frame) => {
            walk.prune(frame);
            walk.fail(frame, Fault::standard(Standard::Timeout, "the task took longer than its `timeout` allows"));
        }
        Ends::Attempt(frame) => walk.attempt_timed_out(frame),
        Ends::Delay(frame) => walk.begin_pass(frame),
        Ends::Wait(frame) => {
            if let Some(input) = walk.live.frames.get(&frame).and_then(|f| f.input.clone()) {
                walk.leave(frame, input);
            }
        }
    }
    Folded::Applied
}
