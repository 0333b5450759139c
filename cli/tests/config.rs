//! Settings: which source wins, what is refused, what `config check` says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{json, run, stderr, stdout, stepmill};
use serde_json::{Value, json as object};

fn setting(shown: &Value, key: &str) -> (Value, String) {
    let row = shown["settings"].as_array().unwrap().iter().find(|r| r["key"] == key).unwrap();
    (row["value"].clone(), row["source"].as_str().unwrap().to_owned())
}

#[test]
fn the_later_source_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = "namespace = \"from-file\"\nnats_url = \"nats://file:4222\"\nslots = 7\npools = [\"a\", \"b\"]\n";
    std::fs::write(dir.path().join("stepmill.toml"), file).unwrap();
    let mut command = stepmill(dir.path(), &["config", "check", "--json", "--nats", "nats://flag:4222"]);
    let output = command
        .env("STEPMILL_NATS_URL", "nats://environment:4222")
        .env("STEPMILL_NAMESPACE", "from-environment")
        .output()
        .unwrap();
    let shown = json(&output);
    assert_eq!(setting(&shown, "nats_url"), (object!("nats://flag:4222"), "flag --nats".into()));
    let expected = (object!("from-environment"), "environment STEPMILL_NAMESPACE".into());
    assert_eq!(setting(&shown, "namespace"), expected);
    let (slots, source) = setting(&shown, "slots");
    assert_eq!(slots, 7);
    assert!(source.starts_with("file ") && source.ends_with("stepmill.toml"), "{source}");
    assert_eq!(setting(&shown, "partitions"), (object!(8), "default".into()));
    assert_eq!(setting(&shown, "http"), (Value::Null, "not set".into()));
}

#[test]
fn the_environment_gives_lists_with_commas() {
    let dir = tempfile::tempdir().unwrap();
    let output = stepmill(dir.path(), &["config", "check", "--json"])
        .env("STEPMILL_POOLS", "default, llm,gpu")
        .output()
        .unwrap();
    assert_eq!(setting(&json(&output), "pools").0, object!(["default", "llm", "gpu"]));
}

#[test]
fn what_may_be_run_is_a_setting() {
    let dir = tempfile::tempdir().unwrap();
    let shown = json(&run(dir.path(), &["config", "check", "--json"]));
    assert_eq!(setting(&shown, "allow_run"), (object!([]), "default".into()));
    let output = stepmill(dir.path(), &["config", "check", "--json"])
        .env("STEPMILL_ALLOW_RUN", "script, shell")
        .env("STEPMILL_RUN_TIMEOUT_S", "30")
        .output()
        .unwrap();
    let shown = json(&output);
    assert_eq!(setting(&shown, "allow_run"), (object!(["script", "shell"]), "environment STEPMILL_ALLOW_RUN".into()));
    assert_eq!(setting(&shown, "run_timeout_s").0, 30);
    let output = stepmill(dir.path(), &["config", "check"]).env("STEPMILL_ALLOW_RUN", "container").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("choose from script, shell and mcp"), "{}", stderr(&output));
}

#[test]
fn a_named_file_is_read_and_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("other.toml"), "partitions = 3\n").unwrap();
    let output = run(dir.path(), &["config", "check", "--json", "--config", "other.toml"]);
    assert_eq!(setting(&json(&output), "partitions").0, 3);
    let output = run(dir.path(), &["config", "check", "--config", "missing.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("missing.toml"), "{}", stderr(&output));
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("stepmill.toml"), "slots = 4\nnats = \"nats://x:1\"\nslot = 9\n").unwrap();
    let output = run(dir.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn a_wrong_value_is_shown_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("stepmill.toml"), "slots = 4\npartitions = \"many\"\n").unwrap();
    let output = run(dir.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn a_wrong_variable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = stepmill(dir.path(), &["config", "check"]).env("STEPMILL_SLOTS", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`slots` must be between 1 and 10000"), "{}", stderr(&output));
    let output = stepmill(dir.path(), &["config", "check"]).env("STEPMILL_PROFILE", "best").output().unwrap();
    assert!(stderr(&output).contains("environment STEPMILL_PROFILE"), "{}", stderr(&output));
}

#[test]
fn typing_mistakes_in_variables_are_pointed_out_and_passwords_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let output = stepmill(dir.path(), &["config", "check"])
        .env("STEPMILL_NAT_URL", "x")
        .env("STEPMILL_REDIS_URL", "redis://me:hunter2@store:6379")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("STEPMILL_NAT_URL"), "{}", stderr(&output));
    assert!(!stdout(&output).contains("hunter2") && stdout(&output).contains("redis://***@store:6379"));
}
