//! `check`: findings with their places, for people, machines and CI; and folders of definitions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{json, run, stderr, stdout};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: default, name: flow, version: '1.0.0' }\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, body) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    }
    dir
}

fn definition(body: &str) -> String {
    format!("{HEAD}{body}")
}

#[test]
fn findings_and_bounds_are_shown() {
    let body =
        "timeout: { after: PT1H }\ndo:\n  - ask:\n      call: greet\n      then: end\n  - lost:\n      set: { a: 1 }\n";
    let dir = folder(&[("flow.yaml", &definition(body))]);
    let output = run(dir.path(), &["check", "flow.yaml", "--steps", "great"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output),
        "flow.yaml: flow 1.0.0: 1 mistake, 1 warning\n  at most 1 attempt at a step, no model calls\n"
    );
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn warnings_fail_only_when_denied() {
    let dir = folder(&[("flow.yaml", &definition("do: [ { c: { call: work } } ]"))]);
    let output = run(dir.path(), &["check", "flow.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("missing-timeout"), "{}", stderr(&output));
    assert_eq!(run(dir.path(), &["check", "flow.yaml", "--deny", "warnings"]).status.code(), Some(1));
    assert_eq!(run(dir.path(), &["check", "flow.yaml", "--deny", "all"]).status.code(), Some(2));
}

#[test]
fn machines_get_findings_and_bounds() {
    let loops = "do: [ { l: { for: { in: .xs }, do: [ { c: { call: work, timeout: { after: PT1S } } } ] } } ]";
    let dir = folder(&[("a.yaml", &definition(loops)), ("b.yaml", &definition("do: [ { x: {} } ]"))]);
    let output = run(dir.path(), &["check", "a.yaml", "b.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = json(&output);
    assert_eq!(shown["ok"], false);
    let (a, b) = (&shown["files"][0], &shown["files"][1]);
    assert_eq!(
        (&a["ok"], &a["workflow"], &a["bounds"]["steps"]),
        (&true.into(), &"flow".into(), &serde_json::Value::Null)
    );
    assert_eq!((&a["bounds"]["model_calls"], &a["bounds"]["unbounded"][0]["path"]), (&0.into(), &"/do/0/l".into()));
    assert_eq!((&b["ok"], &b["bounds"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!((&b["findings"][0]["code"], &b["findings"][0]["line"]), (&"no-kind".into(), &2.into()));
}

#[test]
fn editors_get_sarif() {
    let dir = folder(&[("my flow.yaml", &definition("do:\n  - c: { call: work }\n  - d: { call: wrok }\n"))]);
    let output = run(dir.path(), &["check", "my flow.yaml", "--steps", "work", "--sarif"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "");
    let log: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&log).unwrap());
}

#[test]
fn folders_are_searched() {
    let good = definition("do: [ { a: { set: { x: 1 } } } ]");
    let dir = folder(&[
        ("flows/a.yaml", &good),
        ("flows/deep/b.json", r#"{"document":{"dsl":"1.0.3","namespace":"n","name":"b","version":"1.0.0"},"do":[]}"#),
        ("flows/model.yaml", "rules: []\n"),
        ("flows/readme.md", "document: no\n"),
        ("flows/.hidden/c.yaml", "document: {"),
        ("empty/x.yaml", "a: 1\n"),
    ]);
    for command in ["validate", "check"] {
        let output = run(dir.path(), &[command, "flows", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let shown = json(&output);
        let files: Vec<&str> = shown["files"].as_array().unwrap().iter().map(|f| f["file"].as_str().unwrap()).collect();
        assert_eq!(files, ["flows/a.yaml", "flows/deep/b.json"]);
        let told = stderr(&run(dir.path(), &[command, "flows"]));
        assert!(told.contains("flows/model.yaml: left out"), "{told}");
        let none = run(dir.path(), &[command, "empty"]);
        assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    }
    // a definition that cannot be read is a mistake, not left out
    std::fs::write(dir.path().join("flows/broken.yaml"), "document: {\n").unwrap();
    assert_eq!(run(dir.path(), &["validate", "flows"]).status.code(), Some(1));
}
