//! The workflow as the language reads it, and against the standard's own schema where the shared data are.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets an error has failed, and says what it skipped"
)]

use std::path::Path;

use stepmill_definition::compile;
use stepmill_definition::plan::NodeKind;
use stepmill_example_support_ticket::{POOL, WORKFLOW, WORKFLOW_NAME};

#[test]
fn it_compiles_and_sends_each_call_to_its_pool() {
    let plan = compile(WORKFLOW).unwrap_or_else(|mistakes| panic!("{mistakes}")).plan;
    assert_eq!((plan.namespace.as_str(), plan.name.as_str()), ("default", WORKFLOW_NAME));
    let mut calls = 0;
    for node in &plan.nodes {
        let NodeKind::Call(call) = &node.kind else { continue };
        calls += 1;
        let pool = if call.kind.as_str() == "llm" { "llm" } else { POOL };
        assert_eq!(call.pool.as_str(), pool, "{}", node.path);
        assert!(node.timeout.is_some(), "{} may wait for ever", node.path);
    }
    assert_eq!(calls, 11);
}

#[test]
fn the_standards_schema_accepts_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpora = std::env::var_os("STEPMILL_CORPORA").map_or_else(|| root.join("../shared/corpora"), Into::into);
    let file = corpora.join("open-workflow/schema/workflow.yaml");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: there is no {} (set STEPMILL_CORPORA)", file.display());
        return;
    };
    // The schema has a property `on`, which YAML 1.1 would read as true.
    let options = serde_saphyr::options! { strict_booleans: true };
    let schema: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
    let workflow: serde_json::Value = serde_saphyr::from_str(WORKFLOW).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mistakes: Vec<String> = validator.iter_errors(&workflow).map(|e| e.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}
