//! `dev` and the client verbs against it, as a user would use them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{json, run, stderr, stdout, stepmill};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const GREET: &str = "
document: { dsl: '1.0.3', namespace: default, name: greet, version: '1.0.0' }
do:
  - hello: { set: { text: '${ \"Hello, \" + .name }' } }
  - pause: { wait: { milliseconds: 50 } }
";
const SLOW: &str = "
document: { dsl: '1.0.3', namespace: default, name: slow, version: '1.0.0' }
do:
  - pause: { wait: { hours: 1 } }
";

/// A running `stepmill dev`; killed when the test fails.
struct Dev {
    child: Child,
    facts: Value,
}

impl Dev {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let all = [&["dev", "--json", "--http", "127.0.0.1:0"], args].concat();
        let mut command = stepmill(dir, &all);
        command.env("STEPMILL_NATS_SERVER", nats_server());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("dev did not start: {line}\n{said}")
        });
        // Whoever logs must not wait for us.
        let mut log = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, facts }
    }

    fn http(&self) -> String {
        self.facts["http"].as_str().unwrap().to_owned()
    }

    /// Asks it to end, and waits.
    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                None => panic!("dev does not end"),
            }
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nats_server() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let local = here.join("../.tools/bin/nats-server");
    if local.exists() { local.canonicalize().unwrap() } else { PathBuf::from("nats-server") }
}

/// The verbs, one after the other; `reach` says how the client gets to the system.
fn use_it(dir: &Path, reach: &[&str]) -> String {
    let call = |args: &[&str]| run(dir, &[args, reach, &["--json"]].concat());
    let defined = json(&call(&["define", "greet.yaml"]));
    assert_eq!((defined["workflow"].as_str(), defined["created"].as_bool()), (Some("greet"), Some(true)));

    let waited = call(&["submit", "greet", "--input", "{\"name\":\"Ann\"}", "--key", "k1", "--wait"]);
    assert_eq!(waited.status.code(), Some(0), "{}", stderr(&waited));
    let view = json(&waited);
    assert_eq!(view["output"]["text"], "Hello, Ann");
    let id = view["run"].as_str().unwrap().to_owned();

    let again = json(&call(&["submit", "greet", "--input", "{\"name\":\"Ann\"}", "--key", "k1"]));
    assert_eq!((again["run"].as_str(), again["created"].as_bool()), (Some(id.as_str()), Some(false)));
    assert_eq!(json(&call(&["get", &id]))["state"], "completed");
    let listed = json(&call(&["list", "--state", "completed", "--workflow", "greet", "--from", "1h"]));
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1, "{listed}");

    let watched = call(&["watch", &id]);
    let lines: Vec<Value> = stdout(&watched).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["entry"]["event"], "submitted");
    assert_eq!(lines[lines.len() - 1]["run"]["state"], "completed");

    json(&call(&["define", "slow.yaml"]));
    let slow = json(&call(&["submit", "slow"]))["run"].as_str().unwrap().to_owned();
    let drawn = json(&call(&["graph", "slow.yaml", "--format", "mermaid", "--run", &slow]));
    let picture = drawn["picture"].as_str().unwrap();
    assert!(picture.contains(&format!("run {slow}: running")) && picture.contains("class n1 waiting"), "{picture}");
    let drawn = json(&call(&["graph", "greet.yaml", "--format", "mermaid", "--run", &id]));
    assert!(drawn["picture"].as_str().unwrap().contains("class n1,n2 done"), "{drawn}");
    let other = call(&["graph", "greet.yaml", "--run", &slow]);
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    json(&call(&["signal", &slow, "news", "--data", "1"]));
    let cancelled = json(&call(&["cancel", &slow, "--reason", "a test"]));
    assert_eq!(cancelled["applied"], true, "{cancelled}");
    let followed = run(dir, &[&["watch", &slow], reach].concat());
    assert_eq!(followed.status.code(), Some(1), "a cancelled run is no success");
    assert!(stdout(&followed).contains("cancel: a test"), "{}", stdout(&followed));
    let late = call(&["signal", &slow, "news"]);
    assert_eq!(late.status.code(), Some(1), "nobody will ever take it");
    let told: Value = serde_json::from_str(&stdout(&late)).unwrap();
    assert_eq!(told["applied"], false, "{told}");

    let missing = call(&["get", "00000000-0000-7000-8000-000000000000"]);
    assert_eq!(missing.status.code(), Some(1));
    let problem: Value = serde_json::from_str(&stderr(&missing)).unwrap();
    assert_eq!(problem["error"]["status"], 404, "{problem}");
    id
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("greet.yaml"), GREET).unwrap();
    std::fs::write(dir.path().join("slow.yaml"), SLOW).unwrap();
    dir
}

#[test]
fn the_embedded_system_serves_clients_and_remembers() {
    let dir = folder();
    let dev = Dev::start(dir.path(), &["--embedded"]);
    let id = use_it(dir.path(), &["--api-url", &dev.http()]);
    let second = run(dir.path(), &["dev", "--embedded"]);
    assert!(stderr(&second).contains("another `stepmill dev` works in"), "{}", stderr(&second));
    dev.stop();

    let dev = Dev::start(dir.path(), &["--embedded", "--definitions", "."]);
    let view = json(&run(dir.path(), &["get", &id, "--json", "--api-url", &dev.http()]));
    assert_eq!(view["output"]["text"], "Hello, Ann");
    dev.stop();
}

#[test]
fn servers_are_children_and_go_with_it() {
    let dir = folder();
    let dev = Dev::start(dir.path(), &[]);
    assert_eq!(
        dev.facts["adapters"], "NATS and Redis",
        "nats-server or redis-server is missing: run .ci/run or deploy/get-*"
    );
    let url = dev.facts["nats"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let id = use_it(dir.path(), &["--nats", &url]);
    let view = json(&run(dir.path(), &["get", &id, "--json", "--api-url", &dev.http()]));
    assert_eq!(view["state"], "completed");
    dev.stop();
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nats-server must be gone");

    let dev = Dev::start(dir.path(), &[]);
    let view = json(&run(dir.path(), &["get", &id, "--json", "--api-url", &dev.http()]));
    assert_eq!(view["output"]["text"], "Hello, Ann", "the data stays");
    dev.stop();
}

#[test]
fn a_wrong_definition_is_shown_before_anything_starts() {
    let dir = folder();
    std::fs::write(dir.path().join("bad.yaml"), "document: 7\n").unwrap();
    let output = run(dir.path(), &["dev", "--embedded", "--definitions", "bad.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bad.yaml"), "{}", stderr(&output));
    assert!(!dir.path().join(".stepmill").exists(), "nothing was started");
}
