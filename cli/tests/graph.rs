//! `graph`: pictures on stdout and in files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{json, run, stderr, stdout};

const FLOW: &str = "
document: { dsl: '1.0.3', namespace: default, name: flow, version: '1.0.0' }
do:
  - ask: { call: work }
  - again: { if: .more, set: { a: 1 }, then: ask }
";

#[test]
fn pictures_go_where_they_should() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("flow.yaml"), FLOW).unwrap();
    let drawn = run(dir.path(), &["graph", "flow.yaml"]);
    assert_eq!(drawn.status.code(), Some(0), "{}", stderr(&drawn));
    let picture = stdout(&drawn);
    assert!(
        picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.contains("call work"),
        "{picture}"
    );
    let kept = run(dir.path(), &["graph", "flow.yaml", "--output", "flow.svg"]);
    assert_eq!((kept.status.code(), stdout(&kept).as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(dir.path().join("flow.svg")).unwrap(), picture);
    let text = run(dir.path(), &["graph", "flow.yaml", "--format", "mermaid"]);
    assert!(stdout(&text).contains("  n2 --> n1\n"), "{}", stdout(&text));
    let shown = json(&run(dir.path(), &["graph", "flow.yaml", "--json"]));
    assert_eq!((&shown["format"], shown["picture"].as_str()), (&"svg".into(), Some(picture.as_str())));
}

#[test]
fn what_does_not_compile_is_not_drawn() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("flow.yaml"), FLOW.replace("then: ask", "then: aks")).unwrap();
    let output = run(dir.path(), &["graph", "flow.yaml"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("did you mean `ask`?"), "{}", stderr(&output));
}
