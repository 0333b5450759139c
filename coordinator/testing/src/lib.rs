//! Tests of definitions: a case says what a run is given and what its steps answer, the engine runs it in virtual time,
//! and what came of it is held against what the case expects. Pure: no clock, no chance, no I/O.
//!
//! The engine is the one that coordinators run, and what a worker does with a task (retries by the broker, timeouts) is
//! decided by the code that workers run. Only handlers are replaced, by [`Answer`]s.
//!
//! ```
//! use serde_json::json;
//! use stepmill_testing::{Answer, Case, Definition};
//!
//! let definition = Definition::compile(
//!     "
//! document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
//! do:
//!   - greeting: { call: greet, with: { name: '${ .who }' } }
//!   - polite: { set: { text: '${ . + \"!\" }' } }
//! ",
//! )?;
//! let case = Case::new("a guest is greeted")
//!     .input(json!({ "who": "Ann" }))
//!     .mock("greeting", Answer::result(json!("${ \"Hello, \" + .name }")))
//!     .expect_path(["greeting", "polite"])
//!     .expect_output(json!({ "text": "Hello, Ann!" }));
//! definition.run(&case).assert();
//! # Ok::<(), stepmill_definition::Mistakes>(())
//! ```
//!
//! | file | owns |
//! | --- | --- |
//! | `case`, `answer`, `expect` | a case as its author writes it |
//! | `suite` | a file of cases |
//! | `prepare`, `names` | a case held against the plan: names resolved, expressions compiled |
//! | `alone` | the plan of one step by itself |
//! | `world`, `worker`, `child`, `event`, `mock` | the run in virtual time |
//! | `trail`, `coverage` | what was seen on the way |
//! | `compare`, `sequence`, `difference` | what was expected |

mod alone;
mod answer;
mod case;
mod child;
mod compare;
mod coverage;
mod definition;
mod difference;
mod event;
mod expect;
pub mod limit;
mod mock;
mod names;
mod outcome;
mod prepare;
mod sequence;
mod suite;
mod trail;
mod when;
mod worker;
mod world;

pub use answer::{Answer, Answers, ErrorAnswer, Mocks, Times, UsageAnswer};
pub use case::{Alone, CancelAt, Case, EventAt, SignalAt};
pub use coverage::{Coverage, Spot, SpotKind};
pub use definition::Definition;
pub use difference::Difference;
pub use expect::{CommandPattern, ErrorPattern, Expect, ExpectedState, Item};
pub use outcome::{Facts, Failure, Outcome, Sent};
pub use suite::{Suite, schema};
pub use when::{After, Moment};
