//! The engine against a small independent model, over random workflows, random orders of reports, failures and
//! duplicates; and the bound on what a run stores, however long it goes on.
#![expect(clippy::unwrap_used, reason = "what cannot be read should stop the test at its place")]

mod bound;
mod drive;
mod generate;
mod limits;
mod model;
mod write;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(tasks in generate::workflow(), seed in any::<u64>()) {
        drive::compare(&tasks, seed)?;
    }
}
