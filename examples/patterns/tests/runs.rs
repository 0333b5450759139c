//! The patterns as a user runs them: in one process, on the embedded adapters, with the scripted model.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use stepmill::Local;
use stepmill_agent::{LlmStep, ModelSettings, ScriptSource};
use stepmill_example_patterns::{MODEL_RULES, steps};
use stepmill_worker::Secrets;

const NAMESPACE: &str = "patterns";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    workflow: String,
    input: Value,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    error: Option<String>,
}

/// The folders of the patterns, by name.
fn patterns() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("workflow.yaml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pattern_runs_as_its_page_says() {
    let settings = ModelSettings::default().or_rules(ScriptSource::Text(MODEL_RULES.to_owned()));
    let model = LlmStep::new(&settings, Secrets::from_env(None)).unwrap();
    let local = Local::builder()
        .namespace(NAMESPACE)
        .worker(steps)
        .worker(|worker| worker.pool("llm").step("llm", model))
        .start()
        .await
        .unwrap();
    let names = patterns();
    for name in &names {
        local.define(&read(&format!("{name}/workflow.yaml"))).await.unwrap();
    }
    let cases: Vec<Case> = serde_saphyr::from_str(&read("runs.yaml")).unwrap();
    for case in &cases {
        let ended = local.run(&case.workflow, &case.input).await;
        let (output, error) = match ended {
            Ok(output) => (Some(output), None),
            Err(problem) => (None, Some(problem.detail.unwrap_or_default())),
        };
        assert_eq!((&output, &error), (&case.output, &case.error), "{} on {}", case.workflow, case.input);
    }
    for name in &names {
        assert!(cases.iter().any(|case| case.workflow == *name), "no run of {name}");
    }
    local.stop().await.unwrap();
}

#[test]
fn each_pattern_has_a_page_and_cases() {
    let names = patterns();
    let overview = read("README.md");
    assert!(!names.is_empty());
    for name in names {
        assert!(read(&format!("{name}/workflow.test.yaml")).contains("cases:"));
        assert!(read(&format!("{name}/README.md")).lines().count() > 5);
        assert!(overview.contains(&format!("({name})")), "{name} is not in the overview");
    }
}
