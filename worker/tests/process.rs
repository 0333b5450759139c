//! The steps `script` and `shell` with real processes.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepmill_protocol::problem::Standard;
use stepmill_worker::Failure;
use stepmill_worker::builtin::http::TIMEOUTS;
use stepmill_worker::builtin::{RunRules, Runnable, ScriptStep, ShellStep, Wire};
use stepmill_worker::limit;
use stepmill_worker::testing::TryStep;
use tokio::io::AsyncReadExt as _;
use wiremock::matchers::{any, header};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn rules() -> RunRules {
    RunRules::default().allow(Runnable::Script).allow(Runnable::Shell)
}

async fn shell(rules: RunRules, with: &Value) -> Result<Value, Failure> {
    TryStep::new().run(ShellStep::new(rules), with).await.result
}

async fn script(with: &Value) -> Result<Value, Failure> {
    let step = ScriptStep::new(rules(), Wire::new(TIMEOUTS).unwrap());
    TryStep::new().run(step, with).await.result
}

/// A pipe with a name: whoever reads it sees its end when the last writer is gone.
struct Fifo {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Fifo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { path, _folder: folder }
    }

    /// All that is written, up to the end of the last writer.
    async fn read(path: &Path) -> String {
        let mut text = String::new();
        let mut file = tokio::fs::File::open(path).await.unwrap();
        file.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// Leaves a grandchild that holds the pipe open, says so in it, and waits for it.
const LINGER: &str = "(echo here; exec sleep 1000) > \"$FIFO\" & wait";

#[tokio::test]
async fn nothing_runs_unless_it_is_allowed() {
    let failure = shell(RunRules::default(), &json!({ "command": "echo no" })).await.unwrap_err();
    assert!(failure.problem().is(Standard::Authorization) && !failure.is_retryable(), "{failure}");
    assert!(failure.to_string().contains("`--allow-run shell`"), "{failure}");
    let step = ScriptStep::new(RunRules::default().allow(Runnable::Shell), Wire::new(TIMEOUTS).unwrap());
    let with = json!({ "language": "python", "code": "print(1)" });
    let failure = TryStep::new().run::<_, Value>(step, &with).await.result.unwrap_err();
    assert!(failure.to_string().contains("`--allow-run script`"), "{failure}");
}

#[tokio::test]
async fn a_command_gets_input_arguments_and_environment() {
    let with = json!({
        "command": "input=$(cat); echo \"STDIN was: $input\"; echo \"ARGS are $1 $2\"; echo \"ENV is $A $STEPMILL_IDEMPOTENCY_KEY\"",
        "stdin": "Hello World", "arguments": ["Foo", "Bar baz"], "environment": { "A": 7 },
    });
    let output = shell(rules(), &with).await.unwrap();
    let lines: Vec<&str> = output.as_str().unwrap().lines().collect();
    assert_eq!(lines[..2], ["STDIN was: Hello World", "ARGS are Foo Bar baz"]);
    assert!(lines[2].starts_with("ENV is 7 ") && lines[2].ends_with(":/do/0/step:1"), "{output}");
    // A value that is no text arrives as JSON.
    let with = json!({ "command": "cat", "stdin": { "a": [1] } });
    assert_eq!(shell(rules(), &with).await.unwrap(), json!("{\"a\":[1]}"));
}

#[tokio::test]
async fn the_worker_s_own_environment_stays_with_it() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let output = shell(rules(), &json!({ "command": "env; pwd; echo x > left" })).await.unwrap();
    let text = output.as_str().unwrap();
    assert!(text.contains("PATH=") && !text.contains("CARGO_MANIFEST_DIR"), "{text}");
    let folder = text.lines().last().unwrap();
    assert!(folder.contains("stepmill-run-") && !Path::new(folder).exists(), "{folder} was left behind");
}

/// Whether this very process may look into others whatever they are: then nothing can be hidden from what it starts.
fn sees_everything() -> bool {
    const PTRACE: u64 = 1 << 19;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    capabilities.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set & PTRACE != 0)
}

#[tokio::test]
async fn the_worker_cannot_be_looked_into() {
    let with = json!({ "command": "cat /proc/$PPID/environ >&2; stat -c %U:%G /proc/$PPID/environ", "return": "all" });
    let output = shell(rules(), &with).await.unwrap();
    // What the kernel lets nobody but root read belongs to root.
    assert_eq!(output["stdout"], "root:root\n", "{output}");
    if sees_everything() {
        println!("skipped in part: this process has CAP_SYS_PTRACE, and so has what it starts");
        return;
    }
    assert!(!output["stderr"].as_str().unwrap().contains("CARGO_MANIFEST_DIR"), "{output}");
}

/// What leaves the group and holds the pipes does not hold the result.
#[tokio::test]
async fn a_program_that_is_over_is_not_waited_for() {
    let begin = Instant::now();
    let with = json!({ "command": "echo done; setsid sleep 20 & sleep 0.1", "return": "all" });
    let output = shell(rules(), &with).await.unwrap();
    assert_eq!((&output["code"], &output["stdout"]), (&json!(0), &json!("done\n")), "{output}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_no_system_starts_is_refused_for_good() {
    let zero = json!({ "command": "true", "arguments": ["a\u{0}b"] });
    let large = json!({ "command": "true", "arguments": ["x".repeat(600_000), "y".repeat(600_000)] });
    let long = json!({ "command": "true", "arguments": ["x".repeat(300_000)] });
    for (with, said) in [(zero, "zero byte"), (large, "RUN_ARGUMENT_BYTES_MAX"), (long, "cannot be started")] {
        let failure = shell(rules(), &with).await.unwrap_err();
        assert!(!failure.is_retryable() && failure.to_string().contains(said), "{failure}");
    }
}

#[tokio::test]
async fn processes_that_nobody_waits_for_are_limited() {
    let fifo = Fifo::new();
    let with = json!({ "command": "cat \"$FIFO\"", "environment": { "FIFO": fifo.path }, "passOn": 1 });
    let rules = rules();
    for _ in 0..limit::RUN_DETACHED_MAX {
        assert_eq!(shell(rules.clone(), &with).await.unwrap(), 1);
    }
    let failure = shell(rules.clone(), &with).await.unwrap_err();
    assert!(failure.is_retryable() && failure.to_string().contains("RUN_DETACHED_MAX"), "{failure}");
}

#[tokio::test]
async fn each_kind_of_return_gives_its_part() {
    let with = |returns: &str, code: u8| json!({ "command": format!("echo out; echo err >&2; exit {code}"), "return": returns });
    assert_eq!(shell(rules(), &with("stdout", 0)).await.unwrap(), json!("out\n"));
    assert_eq!(shell(rules(), &with("stderr", 0)).await.unwrap(), json!("err\n"));
    assert_eq!(shell(rules(), &with("none", 0)).await.unwrap(), Value::Null);
    assert_eq!(shell(rules(), &with("code", 3)).await.unwrap(), json!(3));
    let all = json!({ "code": 3, "stdout": "out\n", "stderr": "err\n" });
    assert_eq!(shell(rules(), &with("all", 3)).await.unwrap(), all);
    for lost in ["stdout", "stderr", "none"] {
        let failure = shell(rules(), &with(lost, 3)).await.unwrap_err();
        assert!(failure.problem().is(Standard::Runtime) && failure.is_retryable(), "{failure}");
        assert!(failure.to_string().contains("the command ended with code 3: err"), "{failure}");
        assert_eq!(failure.problem().extra.as_ref().unwrap()["code"], 3);
    }
    let killed = json!({ "command": "kill -9 $$", "return": "code" });
    assert_eq!(shell(rules(), &killed).await.unwrap(), json!(137));
}

#[tokio::test]
async fn scripts_run_in_both_languages() {
    let js = json!({
        "language": "js", "stdin": "Hello Workflow", "arguments": ["hello"], "environment": { "foo": "bar" },
        "code": "import { readFileSync } from 'node:fs';
            const stdin = readFileSync(process.stdin.fd, 'utf8');
            const [_, __, arg] = process.argv;
            console.log(stdin, arg, process.env.foo);",
    });
    assert_eq!(script(&js).await.unwrap(), json!("Hello Workflow hello bar\n"));
    let python = json!({
        "language": "python", "arguments": ["a", "b"],
        "code": "import sys, json\nprint(json.dumps(sys.argv[1:]))\nsys.exit(4)", "return": "all",
    });
    let all = json!({ "code": 4, "stdout": "[\"a\", \"b\"]\n", "stderr": "" });
    assert_eq!(script(&python).await.unwrap(), all);
}

#[tokio::test]
async fn a_script_may_come_from_elsewhere_and_is_fetched_once() {
    let server = MockServer::start().await;
    Mock::given(header("authorization", "Bearer t"))
        .respond_with(ResponseTemplate::new(200).set_body_string("print('from afar')"))
        .expect(1)
        .mount(&server)
        .await;
    let source = json!({ "uri": server.uri() + "/s.py", "authentication": { "bearer": { "token": "t" } } });
    let with = json!({ "language": "python", "source": source });
    let step = ScriptStep::new(rules(), Wire::new(TIMEOUTS).unwrap());
    for _ in 0..2 {
        let tried = TryStep::new().run::<_, Value>(step.clone(), &with).await;
        assert_eq!(tried.result.unwrap(), json!("from afar\n"));
    }
    let gone = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(&gone).await;
    let failure = script(&json!({ "language": "js", "source": gone.uri() })).await.unwrap_err();
    assert_eq!(failure.problem().status, 404);
}

#[tokio::test]
async fn a_process_that_runs_too_long_ends_with_all_that_it_started() {
    let fifo = Fifo::new();
    let with = json!({ "command": LINGER, "environment": { "FIFO": fifo.path } });
    let reader = Fifo::read(&fifo.path);
    let (text, result) = tokio::join!(reader, shell(rules().timeout(Duration::from_secs(2)), &with));
    assert_eq!(text, "here\n");
    let failure = result.unwrap_err();
    assert!(failure.problem().is(Standard::Timeout) && !failure.is_retryable(), "{failure}");
}

#[tokio::test]
async fn a_step_that_is_cancelled_takes_its_processes_along() {
    let fifo = Fifo::new();
    let with = json!({ "command": LINGER, "environment": { "FIFO": fifo.path } });
    let step = TryStep::new().deadline_in(Duration::from_secs(2));
    let (text, tried) = tokio::join!(Fifo::read(&fifo.path), step.run::<_, Value>(ShellStep::new(rules()), &with));
    assert_eq!(text, "here\n");
    assert!(tried.result.unwrap_err().problem().is(Standard::Timeout));
}

#[tokio::test]
async fn what_a_finished_process_left_behind_ends_too() {
    let fifo = Fifo::new();
    let left = "(exec > \"$FIFO\"; echo here; echo go > \"$GO\"; exec sleep 1000) & read go < \"$GO\"; echo done";
    let go = Fifo::new();
    let with = json!({ "command": left, "environment": { "FIFO": fifo.path, "GO": go.path } });
    let begun = Instant::now();
    let (text, result) = tokio::join!(Fifo::read(&fifo.path), shell(rules(), &with));
    assert_eq!((text.as_str(), result.unwrap()), ("here\n", json!("done\n")));
    assert!(begun.elapsed() < Duration::from_secs(100));
}

#[tokio::test]
async fn nobody_waits_for_a_process_unless_it_is_awaited() {
    let fifo = Fifo::new();
    let with = json!({
        "command": "read text; echo \"$text\" > \"$FIFO\"; exit 3", "stdin": "on its own\n",
        "environment": { "FIFO": fifo.path }, "passOn": null,
    });
    assert_eq!(shell(rules(), &with).await.unwrap(), Value::Null);
    assert_eq!(Fifo::read(&fifo.path).await, "on its own\n");
    let mut with = with;
    with["passOn"] = json!({ "order": 7 });
    with["command"] = json!("echo again > \"$FIFO\"");
    assert_eq!(shell(rules(), &with).await.unwrap(), json!({ "order": 7 }));
    assert_eq!(Fifo::read(&fifo.path).await, "again\n");
}

#[tokio::test]
async fn memory_and_output_have_limits() {
    let hungry = json!({ "language": "python", "code": "b = bytearray(400 * 1024 * 1024)\nprint('got it')" });
    let step = ScriptStep::new(rules().memory_mib(128), Wire::new(TIMEOUTS).unwrap());
    let failure = TryStep::new().run::<_, Value>(step, &hungry).await.result.unwrap_err();
    assert!(failure.to_string().contains("MemoryError"), "{failure}");
    assert_eq!(script(&hungry).await.unwrap(), json!("got it\n"));

    let endless = json!({ "command": "yes" });
    let failure = shell(rules().output_bytes(1000), &endless).await.unwrap_err();
    assert!(failure.to_string().contains("wrote more than the 1000 bytes"), "{failure}");
    let exact = json!({ "command": "printf %01000d 7" });
    assert_eq!(shell(rules().output_bytes(1000), &exact).await.unwrap().as_str().unwrap().len(), 1000);
}

#[tokio::test]
async fn secrets_do_not_come_back() {
    let step = TryStep::new().secret("key", "hunter2");
    let with = json!({ "command": "echo $KEY; echo $KEY >&2; exit $CODE", "return": "all",
        "environment": { "KEY": TryStep::secret_reference("key"), "CODE": "0" } });
    let output = step.clone().run::<_, Value>(ShellStep::new(rules()), &with).await.result.unwrap();
    assert_eq!(output, json!({ "code": 0, "stdout": "[secret key]\n", "stderr": "[secret key]\n" }));
    let mut with = with;
    with["return"] = "none".into();
    with["environment"]["CODE"] = "1".into();
    let failure = step.run::<_, Value>(ShellStep::new(rules()), &with).await.result.unwrap_err();
    let shown = serde_json::to_string(failure.problem()).unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("[secret key]"), "{shown}");
}
