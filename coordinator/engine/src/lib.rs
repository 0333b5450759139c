//! The engine: `advance(plan, run, event) -> (run, commands)`. Pure: no clock, no randomness, no I/O, no logging. Time is
//! carried by the event. Every pair of state and event has an answer; "late" and "duplicate" are ordinary answers.
//!
//! The shell folds each event of a run with [`advance`], stores the run ([`Run::encode`], [`Run::take_value_changes`]) and
//! the [`Command`]s in one atomic act, and only then does what the commands say.
//!
//! A run's state is a tree of [`frame`]s: one for each task that a token has entered and not left. Leaves wait (for a
//! report, for time); everything above them is what is needed to go on. A frame that is left leaves nothing behind but its
//! output.
//!
//! | file | owns |
//! | --- | --- |
//! | `advance` | the contract and the table of states and events |
//! | `transition/` | one kind of event per file |
//! | `walk/` | one kind of node per file: entering, leaving, failing |
//! | `frame`, `run`, `values` | the state |
//! | `rules` | what differs between versions of the rules |
//! | `errand` | what outlives the step that wanted it, and the run |
//! | `event/` | which events fit, and which runs may wait for one |
//! | `retry`, `visit`, `secret`, `scope`, `mention` | one rule each |
//! | `codec`, `check` | the stored form, and what must be true of it |
//! | `query`, `view` | what others may ask |
//! | `observe` | what a fold passed, for tests of definitions |
//! | `life/` | the standard's life-cycle events |

mod advance;
mod bin;
mod check;
mod codec;
mod command;
mod emit;
mod errand;
mod event;
mod fault;
mod fingerprint;
mod frame;
mod gathered;
mod instant;
mod life;
mod mention;
mod observe;
mod query;
mod retry;
mod rules;
mod run;
mod scope;
mod secret;
mod transition;
mod values;
mod view;
mod visit;
mod walk;

pub use advance::{Outcome, advance};
pub use codec::CorruptRun;
pub use command::Command;
pub use event::{Candidates, Listeners};
pub use life::{Happening, LifeEvent, Told, advance_telling};
pub use observe::{Observer, Passed, observe};
pub use rules::ENGINE_VERSION;
pub use run::Run;
pub use values::ValueChanges;
