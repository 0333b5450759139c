//! `test`: cases beside definitions, for people, machines and CI servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{json, run, stderr, stdout};

const GREET: &str = "
document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
do:
  - known: { if: .who, call: greet, with: { name: '${ .who }' }, then: exit }
  - stranger: { set: { text: Hello! } }
";
const CASES: &str = "
cases:
  - name: a guest is greeted by name
    input: { who: Ann }
    mocks: { known: { result: { text: 'Hello, Ann!' } } }
    expect: { path: [known], output: { text: 'Hello, Ann!' } }
  - name: a stranger is greeted too
    input: {}
    expect: { path: [stranger], output: { text: Hi! } }
";

fn folder(cases: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("flows")).unwrap();
    std::fs::write(dir.path().join("flows/greet.yaml"), GREET).unwrap();
    std::fs::write(dir.path().join("flows/greet.test.yaml"), cases).unwrap();
    dir
}

fn without_time(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(last) = lines.last_mut()
        && let Some(at) = last.rfind(" (")
    {
        last.truncate(at);
    }
    lines.join("\n")
}

#[test]
fn a_failed_case_says_what_and_where() {
    let dir = folder(CASES);
    let output = run(dir.path(), &["test"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    insta::assert_snapshot!(without_time(&stdout(&output)));
}

#[test]
fn a_threshold_and_a_filter_choose_what_counts() {
    let right = CASES.replace("text: Hi!", "text: Hello!");
    let dir = folder(&right);
    let output = run(dir.path(), &["test", "flows", "--coverage", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let output = run(dir.path(), &["test", "flows/greet.yaml", "--filter", "stranger", "--json"]);
    assert_eq!(json(&output)["cases"], 1);
    let half: String = right.lines().take_while(|l| !l.contains("stranger is")).map(|l| format!("{l}\n")).collect();
    let dir = folder(&half);
    assert_eq!(run(dir.path(), &["test"]).status.code(), Some(0));
    let output = run(dir.path(), &["test", "--coverage", "100"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("50.0 % of the nodes are reached, 100 % are wanted"), "{}", stderr(&output));
}

#[test]
fn machines_get_one_object_and_ci_servers_get_junit() {
    let dir = folder(CASES);
    let output = run(dir.path(), &["test", "--json", "--junit", "out/cases.xml"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = json(&output);
    assert_eq!((&shown["ok"], &shown["cases"], &shown["failed"]), (&false.into(), &2.into(), &1.into()));
    let failure = &shown["files"][0]["cases"][1]["failures"][0];
    assert_eq!((&failure["code"], &failure["line"]), (&"output".into(), &9.into()));
    assert_eq!(failure["differences"][0]["got"], "Hello!");
    assert_eq!(shown["coverage"][0]["branches"]["percent"], 100.0);
    let xml = std::fs::read_to_string(dir.path().join("out/cases.xml")).unwrap();
    assert!(xml.contains("tests=\"2\"") && xml.contains("failures=\"1\""), "{xml}");
    assert!(xml.contains("a stranger is greeted too") && xml.contains("/text: expected"), "{xml}");
}

#[test]
fn mistakes_of_a_file_are_shown_over_its_text() {
    let dir = folder(&CASES.replace("path: [known]", "path: [knwon]").replace("mocks: { known", "mocks: { knwon"));
    let output = run(dir.path(), &["test"]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn where_there_is_nothing_it_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["test"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("flow.test.yaml"), "{}", stderr(&output));
    std::fs::write(dir.path().join("greet.yaml"), GREET).unwrap();
    let output = run(dir.path(), &["test", "greet.yaml"]);
    assert!(stderr(&output).contains("greet.test.yaml"), "{}", stderr(&output));
}

#[test]
fn a_thousand_cases_take_seconds() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/support-ticket");
    let cases = std::fs::read_to_string(example.join("workflow.test.yaml")).unwrap();
    let (head, rest) = cases.split_once("cases:\n").unwrap();
    let of_file = rest.matches("- name: ").count();
    let files = 1_000_usize.div_ceil(of_file);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(example.join("workflow.yaml"), dir.path().join("workflow.yaml")).unwrap();
    for n in 0..files {
        let text = format!("definition: workflow.yaml\n{head}cases:\n{rest}");
        std::fs::write(dir.path().join(format!("part-{n}.test.yaml")), text).unwrap();
    }
    let output = run(dir.path(), &["test", "--json", "--coverage", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = json(&output);
    assert!(shown["cases"].as_u64().unwrap() >= 1_000 && shown["failed"] == 0, "{}", shown["cases"]);
    let took = shown["tookMs"].as_u64().unwrap();
    eprintln!("{} cases in {took} ms", shown["cases"]);
    assert!(took < 60_000, "{took} ms, and this is an unoptimised build");
}

#[test]
fn the_example_is_covered_in_full() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let output = run(&example, &["test", "--coverage", "100", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let shown = json(&output);
    for coverage in shown["coverage"].as_array().unwrap() {
        assert_eq!((&coverage["nodes"]["percent"], &coverage["branches"]["percent"]), (&100.0.into(), &100.0.into()));
    }
    let warned = |case: &serde_json::Value| !case["warnings"].as_array().unwrap().is_empty();
    let files = shown["files"].as_array().unwrap();
    assert!(!files.is_empty() && files.iter().all(|f| !f["cases"].as_array().unwrap().iter().any(warned)));
}

#[test]
fn editors_get_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["test", "--schema"]);
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/test.schema.json");
    assert_eq!(stdout(&output), std::fs::read_to_string(published).unwrap());
}
