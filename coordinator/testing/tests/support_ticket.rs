//! The cases of the support desk: they pass, reach every branch, and a thousand of them take seconds.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it measured")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::time::Instant;

use stepmill_testing::{Definition, SpotKind, Suite};

const WORKFLOW: &str = include_str!("../../../examples/support-ticket/workflow.yaml");
const CASES: &str = include_str!("../../../examples/support-ticket/workflow.test.yaml");

#[test]
fn its_cases_pass_and_reach_every_branch() {
    let definition = Definition::compile(WORKFLOW).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let suite = Suite::read(CASES).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let outcomes: Vec<_> = suite.cases.iter().map(|case| definition.run(case)).collect();
    let failed: Vec<String> = outcomes.iter().filter(|o| !o.passed()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let warnings: Vec<_> = outcomes.iter().flat_map(|o| &o.warnings).cloned().chain(suite.unused(&outcomes)).collect();
    assert_eq!(warnings, []);
    let mut coverage = definition.coverage();
    outcomes.iter().for_each(|outcome| coverage.add(outcome));
    assert_eq!(coverage.missed().collect::<Vec<_>>(), Vec::<&stepmill_testing::Spot>::new());
    assert_eq!((coverage.count(SpotKind::Node), coverage.count(SpotKind::Branch)), ((19, 19), (15, 15)));
}

#[test]
fn a_thousand_cases_take_seconds() {
    let definition = Definition::compile(WORKFLOW).unwrap();
    let suite = Suite::read(CASES).unwrap();
    let begun = Instant::now();
    let passed = suite.cases.iter().cycle().take(1_000).filter(|case| definition.run(case).passed()).count();
    let took = begun.elapsed();
    println!("1,000 cases on one thread: {} ms", took.as_millis());
    assert_eq!(passed, 1_000);
    assert!(took.as_secs() < 60, "{took:?}, and this is an unoptimised build");
}
