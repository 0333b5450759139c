//! The library face: a system in this process, as users' tests have it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use stepmill::worker::{Context, Failure};
use stepmill::{Local, LocalError};

const FLOW: &str = "
document: { dsl: '1.0.3', namespace: default, name: flow, version: '1.0.0' }
do:
  - work: { call: work }
";

async fn refuse(_ctx: Context, _input: Value) -> Result<Value, Failure> {
    std::future::ready(Err(Failure::terminal("no such customer"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_step_is_the_error_of_the_run() {
    let local = Local::start(|worker| worker.step("work", refuse)).await.unwrap();
    local.define(FLOW).await.unwrap();
    let problem = local.run("flow", &Value::Null).await.unwrap_err();
    assert!(problem.to_string().contains("no such customer"), "{problem}");
    assert!(problem.instance.as_deref().is_some_and(|at| at.contains("work")), "{problem:?}");
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_definitions_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("local.redb");
    let calls = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let calls = Arc::clone(&calls);
        let count = move |_ctx: Context, input: Value| {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok::<Value, Failure>(input))
        };
        let local = Local::builder().file(&file).worker(|w| w.step("work", count)).start().await.unwrap();
        local.define(FLOW).await.unwrap();
        let request = stepmill::worker::protocol::api::SubmitRequest {
            workflow: "flow".parse().unwrap(),
            version: None,
            input: json!({ "n": 1 }),
            key: Some("once".into()),
        };
        let run = local.client().submit(&request).await.unwrap().run;
        let view = local.client().result(run).await.unwrap();
        assert_eq!(view.output, Some(json!({ "n": 1 })));
        local.stop().await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the second start finds the run of the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("local.redb");
    let first = Local::builder().file(&file).start().await.unwrap();
    let second = Local::builder().file(&file).start().await;
    assert!(matches!(second, Err(LocalError::Open(_))), "{second:?}");
    first.stop().await.unwrap();
    Local::builder().file(&file).start().await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_steps_is_refused() {
    let started = Local::start(|worker| worker).await;
    assert!(matches!(started, Err(LocalError::Worker(_))), "{started:?}");
}
