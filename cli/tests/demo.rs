//! The demo over a file of tickets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{json, run, stderr, stdout};

const TICKETS: &str = r##"{"id":"a","text":"Please exchange the shoes of order #W1000001 for a smaller size.","label":"exchange"}
{"id":"b","text":"I want my money back for order #W1000003, it does not work.","label":"return"}
{"id":"c","text":"Please cancel order #W1000002, I ordered it by mistake.","known":"ignored"}
"##;

#[test]
fn three_tickets_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tickets.jsonl"), TICKETS).unwrap();
    let output = run(dir.path(), &["demo", "--tickets", "tickets.jsonl", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let summary = json(&output);
    let keys: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["tickets", "finished", "correct", "model_calls", "tokens", "wall_s"]);
    assert_eq!((summary["tickets"].as_u64(), summary["finished"].as_u64()), (Some(3), Some(3)));
    assert!(summary["correct"].as_u64().unwrap() <= 2, "a ticket without label is never correct: {summary}");
    assert!(summary["model_calls"].as_u64().unwrap() >= 6, "two calls per ticket: {summary}");
    assert!(summary["tokens"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn a_file_remembers_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tickets.jsonl"), TICKETS).unwrap();
    let args = ["demo", "--tickets", "tickets.jsonl", "--file", "demo.redb", "--json"];
    let (first, second) = (run(dir.path(), &args), run(dir.path(), &args));
    assert_eq!(second.status.code(), Some(0), "{}", stderr(&second));
    let (first, second) = (json(&first), json(&second));
    for key in ["finished", "correct", "model_calls", "tokens"] {
        assert_eq!(first[key], second[key], "the same runs, not new ones");
    }
}

#[test]
fn people_see_a_table() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tickets.jsonl"), TICKETS).unwrap();
    let output = run(dir.path(), &["demo", "--tickets", "tickets.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "no progress bar where nobody looks");
    let shown = stdout(&output);
    assert!(shown.contains("route taken") && shown.contains("3 of 3 tickets finished"), "{shown}");
}
