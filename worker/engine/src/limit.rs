//! The limits of a worker's decisions, by name.

use stepmill_protocol::limit;
use stepmill_protocol::time::Millis;

/// From this delivery on a failed attempt is handed to the engine, which dispatches a new message, instead of being
/// redelivered: a policy with many attempts must not run into the poison limit.
pub const REDELIVERIES_MAX: u64 = limit::DELIVERIES_MAX / 2;
/// A longer delay is left to the engine's timers: a message that waits in the broker counts against its pool.
pub const REDELIVERY_DELAY_MAX: Millis = Millis(10 * 60_000);
/// How often a task of a kind that this worker does not serve is given back, so that a worker of a newer release can
/// take it, before the step fails.
pub const UNSERVED_DELIVERIES_MAX: u64 = 3;
/// The pause before a task of an unserved kind is delivered again.
pub const UNSERVED_DELAY: Millis = Millis(1_000);
/// The pause after the first question that nobody answered; doubled with each delivery.
pub const UNANSWERED_DELAY: Millis = Millis(500);
/// Upper bound of that pause.
pub const UNANSWERED_DELAY_MAX: Millis = Millis(30_000);
/// How often the log may refuse a report as one that it will never take, before a failure that says so is reported
/// in its place.
pub const REFUSALS_MAX: u32 = 10;
/// How often an ack or a negative-ack is repeated. A lost one costs a redelivery and a question, nothing else.
pub const SETTLE_TRIES_MAX: u32 = 3;
