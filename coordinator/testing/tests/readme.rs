//! The definitions that the README shows do what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use stepmill_testing::{Answer, Case, Definition, SpotKind};

const README: &str = include_str!("../../../README.md");

/// Every definition of the README, by name.
fn definitions() -> Vec<(String, Definition)> {
    let blocks = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let compiled = blocks.filter(|block| block.lines().any(|line| line.starts_with("document:"))).map(|block| {
        let definition = Definition::compile(block).unwrap_or_else(|mistakes| panic!("{mistakes}\n{block}"));
        (definition.plan().name.to_string(), definition)
    });
    compiled.collect()
}

#[test]
fn each_is_covered() {
    let mut seen = Vec::new();
    for (name, definition) in definitions() {
        let case = match name.as_str() {
            "welcome" => Case::new("a guest is welcomed")
                .input(json!({"who": "Ann"}))
                .expect_path(["pause", "greet"])
                .expect_output(json!({"text": "Hello, Ann!"})),
            "greeting" => Case::new("a worker greets")
                .input(json!({"who": "Ann"}))
                .mock("sayHello", Answer::result(json!("${ \"Hello, \" + .name }")))
                .expect_output(json!("Hello, Ann")),
            other => panic!("the README shows `{other}`, which has no case here"),
        };
        let outcome = definition.run(&case);
        outcome.assert();
        let mut coverage = definition.coverage();
        coverage.add(&outcome);
        assert_eq!((coverage.percent(SpotKind::Node), coverage.percent(SpotKind::Branch)), (100.0, 100.0), "{name}");
        seen.push(name);
    }
    assert_eq!(seen, ["welcome", "greeting"]);
}
