//! `validate`: all mistakes of a file at once, for people and for machines.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{json, run, stderr, stdout};

const RIGHT: &str = "
document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
do:
  - hello: { set: { text: hi } }
";
const WRONG: &str = "
document:
  dsl: '1.0.3'
  namespace: default
  name: five mistakes
  version: '1.0.0'
do:
  - first:
      set: { n: '${ .a + }' }
      then: nowhere
  - second:
      wait: { minuts: 5 }
  - third:
      call: http
      with: { method: get }
  - fourth:
      call: grpc
";

#[test]
fn all_mistakes_are_shown_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wrong.yaml"), WRONG).unwrap();
    let output = run(dir.path(), &["validate", "wrong.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn machines_get_a_list() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wrong.yaml"), WRONG).unwrap();
    std::fs::write(dir.path().join("right.yaml"), RIGHT).unwrap();
    let output = run(dir.path(), &["validate", "right.yaml", "wrong.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = json(&output);
    assert_eq!(shown["ok"], false);
    assert_eq!((&shown["files"][0]["ok"], &shown["files"][0]["workflow"]), (&true.into(), &"greet".into()));
    let mistakes = shown["files"][1]["mistakes"].as_array().unwrap();
    assert!(mistakes.len() >= 5, "{mistakes:#?}");
    assert!(mistakes.iter().all(|m| m["line"].is_u64() && m["message"].is_string()), "{mistakes:#?}");
}

#[test]
fn a_right_file_is_in_order() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("right.yaml"), RIGHT).unwrap();
    let output = run(dir.path(), &["validate", "right.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "right.yaml: greet 1.0.0 is in order\n");
}
