//! Builds the program and has callgrind count what it does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A profile as near to the release as is quick to build (`Cargo.toml` of the workspace).
const PROFILE: &str = "instructions";

/// The valgrind that `STEPMILL_VALGRIND` names, else the one on the PATH; none where neither can be run.
pub(crate) fn valgrind() -> Option<OsString> {
    let name = std::env::var_os("STEPMILL_VALGRIND").filter(|name| !name.is_empty()).unwrap_or("valgrind".into());
    let answer = Command::new(&name).arg("--version").output().ok()?;
    answer.status.success().then_some(name)
}

/// Where callgrind's findings lie, for `callgrind_annotate`.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The program whose instructions are counted.
pub(crate) struct Program {
    path: PathBuf,
    valgrind: OsString,
}

impl Program {
    pub(crate) fn build(valgrind: OsString) -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "--message-format=json", "--profile", PROFILE]);
        cargo.args(["--package", env!("CARGO_PKG_NAME"), "--bin", env!("CARGO_PKG_NAME")]);
        let messages = answer(&mut cargo);
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut executables = messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        Self { path: executables.next().unwrap(), valgrind }
    }

    /// The names of the operations, and how often each is done.
    pub(crate) fn operations(&self) -> Vec<(String, u64)> {
        let table = answer(&mut Command::new(&self.path));
        let row =
            |line: &str| line.split_once(' ').map(|(name, times)| (name.to_owned(), times.parse().unwrap())).unwrap();
        table.lines().map(row).collect()
    }

    /// The instructions that were executed while the program was within its function `counted`.
    pub(crate) fn count(&self, operation: &str) -> u64 {
        let found = folder().join(format!("{}.out", operation.replace('/', "-")));
        let mut run = Command::new(&self.valgrind);
        run.args([
            "--tool=callgrind",
            "--quiet",
            "--collect-atstart=no",
            "--toggle-collect=*stepmill_instructions*counted*",
        ]);
        run.arg(format!("--callgrind-out-file={}", found.display())).arg(&self.path).arg(operation);
        // Nothing of the caller's surroundings: their length moves the stack.
        answer(run.env_clear());
        let text = std::fs::read_to_string(&found).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().parse().unwrap();
        assert!(count > 0, "{operation}: nothing was counted; is `counted` still a function of its own?");
        count
    }
}

/// What a command writes, once it has ended well.
fn answer(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
