//! The image and the compose file on a real Docker engine: `deploy/test-containers`, which see for what it checks.

use std::process::{Command, Stdio};

use stepmill_tests::server::repository;

/// What the script ends with where no engine can run.
const SKIPPED: i32 = 77;

#[test]
fn the_system_runs_in_containers_as_promised() {
    if std::env::var_os("STEPMILL_CONTAINERS").is_none() {
        println!("skipped: set STEPMILL_CONTAINERS=1 (deploy/test does); it takes a quarter of an hour and root");
        return;
    }
    let mut command = Command::new(repository().join("deploy/test-containers"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    match output.status.code() {
        Some(SKIPPED) => assert!(said.lines().any(|line| line.starts_with("skipped: ")), "it must say why"),
        status => {
            assert_eq!(status, Some(0), "see above");
            assert!(said.ends_with("containers: all is as promised\n"));
        }
    }
}
