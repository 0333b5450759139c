//! The embedded adapters: the one process is killed while runs are under way, and started again on the same file.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use stepmill_tests::cluster::stepmill_program;

use crate::check;
use crate::load::{Chance, chain};

const RUNS: usize = 200;

/// One process with everything in it, reached over HTTP.
struct Node {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
    http: reqwest::Client,
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(folder.path(), port);
        Self { folder, port, child, http: reqwest::Client::new() }
    }

    fn spawn(folder: &std::path::Path, port: u16) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        Command::new(stepmill_program().unwrap())
            .args(["dev", "--embedded", "--noop", "--http", &format!("127.0.0.1:{port}"), "--dir"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .env("STEPMILL_SIDE_FILE", folder.join("side.jsonl"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::spawn(self.folder.path(), self.port);
    }

    /// Calls a verb until it is answered; what is asked must be safe to repeat.
    async fn insist(&self, verb: &str, body: &Value) -> Value {
        insist(&self.http, self.port, verb, body).await
    }
}

async fn insist(http: &reqwest::Client, port: u16, verb: &str, body: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    let url = format!("http://127.0.0.1:{port}/api/default/{verb}");
    loop {
        let last = match http.post(&url).timeout(Duration::from_secs(12)).json(body).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.json::<Value>().await {
                    Ok(value) if status == 200 => return value,
                    Ok(value) if status < 500 => panic!("{verb} {body}: {value}"),
                    Ok(value) => value.to_string(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{verb} {body}: no good answer within a minute; the last: {last}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_of_kills_lose_nothing_and_repeat_nothing() {
    let mut node = Node::start();
    let mut chance = Chance::new(u64::from(std::process::id()));
    node.insist("define", &json!({"source": chain()})).await;
    let mut all = Vec::new();
    for round in 0..crate::rounds::rounds() {
        let (http, port) = (node.http.clone(), node.port);
        let submitted = tokio::spawn(async move {
            let submit = |n: usize| {
                let http = http.clone();
                async move {
                    let body = json!({"workflow": "chain", "key": format!("e{round}-{n}"), "input": {}});
                    let answer = insist(&http, port, "submit", &body).await;
                    answer["run"].as_str().unwrap_or_else(|| panic!("no run in {answer}")).to_owned()
                }
            };
            futures::stream::iter(0..RUNS).map(submit).buffered(40).collect::<Vec<_>>().await
        });
        for _ in 0..1 + chance.below(2) {
            tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
            node.kill_and_restart();
        }
        let runs = submitted.await.unwrap();
        let here = &node;
        let views = futures::stream::iter(&runs).map(|run| async move {
            let deadline = Instant::now() + Duration::from_secs(90);
            loop {
                let view = here.insist("result", &json!({"run": run, "wait_ms": 5_000})).await;
                if view["state"] != "running" {
                    return (run.clone(), view);
                }
                assert!(Instant::now() < deadline, "the run has not ended in time: {view}");
            }
        });
        all.extend(views.buffered(64).collect::<Vec<_>>().await);
    }
    let traces = check::traces(&node.folder.path().join("side.jsonl"));
    check::all_right(&all, &traces);
    let mut stored = std::collections::BTreeMap::new();
    for (run, _) in &all {
        let mut after = 0;
        loop {
            let page = node.insist("history", &json!({"run": run, "after": after, "limit": 500})).await;
            let entries = page["entries"].as_array().cloned().unwrap_or_default();
            let Some(last) = entries.last() else { break };
            after = last["seq"].as_u64().unwrap();
            check::take_history(run, &entries, &mut stored);
        }
    }
    check::as_reported(&all, &stored);
    let repeated = check::none_again(&traces, &stored);
    println!(
        "{} runs ended right; {repeated} unfinished steps were begun again, none whose report was stored",
        all.len()
    );
}
