//! The limits of a worker, by name. Those of messages are in `stepmill_protocol::limit`.

use std::time::Duration;

/// How long a worker waits for the owner's word on a task that came again.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for a value that a task refers to.
pub const VALUE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits for the broker to take an ack, or to confirm a negative-ack.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one fetch waits for a first task.
pub const FETCH_WAIT: Duration = Duration::from_secs(2);
/// How long a worker that stops waits for the fetch under way.
pub const STOPPED_FETCH_WAIT: Duration = Duration::from_millis(100);
/// Pause after a fetch that came back empty at once, so that a broker that does not wait is not flooded.
pub const EMPTY_FETCH_PAUSE: Duration = Duration::from_millis(50);
/// While tasks wait, a fetch for less than a quarter of the slots is held back this long so that more slots come free.
pub const GATHER_PAUSE: Duration = Duration::from_millis(1);
/// Acks under way per slot before a finished task keeps its slot.
pub const SETTLING_PER_SLOT_MAX: usize = 4;
/// Slots of one worker.
pub const SLOTS_MAX: usize = 10_000;
/// How long a drained worker waits for handlers that do not give way.
pub const DRAIN_EXTRA: Duration = Duration::from_secs(5);
/// Bytes of the text that tells how far a handler is.
pub const PROGRESS_BYTES_MAX: usize = 256;
/// Bytes of a foreign answer that are quoted in an error.
pub const QUOTE_BYTES_MAX: usize = 2_048;
/// Bytes of an undecodable task that are kept in its dead letter.
pub const DEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest `Retry-After` that is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of a scripted model's rule file.
pub const SCRIPT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Rules of a scripted model.
pub const RULES_MAX: usize = 10_000;
