//! The example of docs/testing.md does what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use stepmill_testing::{Definition, Spot, Suite};

const PAGE: &str = include_str!("../../../docs/testing.md");

fn block(first_line: &str) -> &'static str {
    let begin = format!("```yaml\n{first_line}\n");
    let (_, rest) = PAGE.split_once(&begin).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn its_cases_pass_and_reach_everything() {
    let definition = Definition::compile(block("# flow.yaml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let suite = Suite::read(block("# flow.test.yaml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut coverage = definition.coverage();
    for case in &suite.cases {
        let outcome = definition.run(case);
        outcome.assert();
        assert_eq!(outcome.warnings, []);
        coverage.add(&outcome);
    }
    assert_eq!(coverage.missed().collect::<Vec<_>>(), Vec::<&Spot>::new());
}
