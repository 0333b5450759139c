//! What the engine asks the shell to do. All of it is committed with the state and carried out afterwards.

use stepmill_protocol::{CommandId, PoolName, Priority, TimerId, Timestamp};

/// One request to the shell. Each is harmless when carried out twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Publish the task of this dispatch ([`crate::Run::task`] gives its body). It is open until withdrawn.
    Dispatch {
        /// The dispatch.
        id: CommandId,
        /// Where to.
        pool: PoolName,
        /// How urgent.
        priority: Priority,
    },
    /// This dispatch is settled: it was reported on, or nobody waits for it any more. Every dispatch ends with exactly one.
    Withdraw {
        /// The dispatch.
        id: CommandId,
    },
    /// Send [`stepmill_protocol::Event::TimerDue`] when this time has come. Armed until disarmed.
    Arm {
        /// The timer.
        timer: TimerId,
        /// When.
        due: Timestamp,
    },
    /// This timer is settled: it came due, or nobody waits for it any more. Every armed timer ends with exactly one.
    Disarm {
        /// The timer.
        timer: TimerId,
    },
    /// Send [`stepmill_protocol::Event::Resume`] with this number, after others had their turn.
    Yield {
        /// The number.
        number: u64,
    },
}
