//! What users see: help, mistakes in arguments, and errors that say what to do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{run, stderr, stdout};

#[test]
fn help_of_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 32] = [
        &[],
        &["demo"],
        &["dev"],
        &["coordinator"],
        &["worker"],
        &["define"],
        &["validate"],
        &["check"],
        &["graph"],
        &["test"],
        &["schema"],
        &["submit"],
        &["get"],
        &["list"],
        &["watch"],
        &["cancel"],
        &["terminate"],
        &["pause"],
        &["resume"],
        &["rerun"],
        &["skip"],
        &["set"],
        &["signal"],
        &["model"],
        &["model", "serve"],
        &["bench"],
        &["bench", "chain"],
        &["health"],
        &["man"],
        &["completions"],
        &["config"],
        &["config", "check"],
    ];
    let mut all = String::new();
    for command in commands {
        let output = run(dir.path(), &[command, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", stderr(&output));
        all += &format!("$ stepmill {}\n{}\n", [command, &["--help"]].concat().join(" "), stdout(&output));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn wrong_arguments_exit_with_two() {
    let dir = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 7] = [
        &["get", "not-a-run"],
        &["submit", "a.b"],
        &["list", "--state", "sleeping"],
        &["list", "--from", "soon"],
        &["list", "--limit", "0"],
        &["demo", "--file", "x", "--memory"],
        &["submit", "flow", "--input", "{"],
    ];
    for args in wrong {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn wrong_arguments_are_told_to_machines_as_an_object() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["get", "not-a-run", "--json"][..], &["--json", "submi"], &["list", "--json", "--stat", "x"]] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let told: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        assert!(told["error"].is_object(), "{told}");
    }
}

#[test]
fn an_absent_system_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was just free: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = run(dir.path(), &["list", "--nats", &format!("nats://127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("stepmill dev"), "{}", stderr(&output));
    let output = run(dir.path(), &["list", "--json", "--api-url", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(1));
    let shown: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(shown["error"]["status"], 500, "{shown}");
}

#[test]
fn the_schema_is_printed_as_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["schema"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/stepmill.json");
    assert_eq!(stdout(&output), std::fs::read_to_string(published).unwrap());
}

#[test]
fn completions_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(dir.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("validate") && stdout(&output).contains("submit"), "{shell}");
    }
}

#[test]
fn bad_tickets_are_named_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\"}\n\nnot json\n{\"id\":\"a\",\"text\":\"again\"}\n";
    std::fs::write(dir.path().join("tickets.jsonl"), lines).unwrap();
    let output = run(dir.path(), &["demo", "--tickets", "tickets.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(stderr(&output));
    let output = run(dir.path(), &["demo", "--tickets", "none.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("none.jsonl"), "{}", stderr(&output));
}
