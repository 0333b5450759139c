//! Runs the binary as a user would, in a folder of its own and without the environment's settings.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part of it, and fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// The command with these arguments, not started.
pub(crate) fn stepmill(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepmill"));
    command.args(args).current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1");
    command
}

/// Runs it to its end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Output {
    stepmill(dir, args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Its one line of JSON.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    assert_eq!(text.lines().count(), 1, "one line expected: {text}\n{}", stderr(output));
    serde_json::from_str(&text).unwrap()
}
