//! The published form of files of cases is the one that is read. `STEPMILL_REWRITE=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test may read and write the recorded schema")]

use std::path::Path;

#[test]
fn the_published_schema_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/test.schema.json");
    let schema = serde_json::to_string_pretty(&stepmill_testing::schema()).unwrap() + "\n";
    if std::env::var("STEPMILL_REWRITE").is_ok() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap();
    assert!(published == schema, "docs/schema/test.schema.json is old; STEPMILL_REWRITE=1 writes it anew");
}

#[test]
fn the_cases_of_the_example_fit_it() {
    let cases = include_str!("../../../examples/support-ticket/workflow.test.yaml");
    let cases: serde_json::Value = serde_saphyr::from_str(cases).unwrap();
    let validator = jsonschema::validator_for(&stepmill_testing::schema()).unwrap();
    let mistakes: Vec<String> = validator.iter_errors(&cases).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    for wrong in [serde_json::json!({}), serde_json::json!({"cases": [{"name": "a", "imput": 1}]})] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}
