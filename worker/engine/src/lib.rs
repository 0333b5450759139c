//! What a worker decides, without a clock, chance, I/O or async: what to do with a delivery, and what to do with an
//! outcome.
//!
//! One [`Attempt`] stands for one delivery. It is begun with the facts of the [`Arrival`] and then fed one [`Event`]
//! after the other; each answer is the next [`Command`], and never more than one at a time, so the order is fixed:
//!
//! ```text
//! arrival ─▶ ask? ─▶ fetch value? ─▶ run ─▶ report (until stored) ─▶ ack | negative-ack ─▶ end
//!    └─────▶ bury (until stored) ──────────▶ report ───────────────▶ ack
//! ```
//!
//! An ack is never commanded before a report was stored, with three exceptions that need none: the owner said that the
//! result is known (`done`), that nobody waits for it (`stale`), or the message is no task at all.

pub mod attempt;
pub mod command;
pub mod delivery;
pub mod finish;
pub mod limit;
pub mod model;

pub use attempt::Attempt;
pub use command::{Command, Ending, Event};
pub use delivery::{Arrival, Subject};
pub use finish::{Fault, Finish};
