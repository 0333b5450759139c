//! What operators do to runs: each act in its right state, in the wrong one, on a run that is not there, and a second time.

use serde_json::{Value, json};
use stepmill_protocol::api::{Acknowledged, OutputRequest, RerunRequest, RunState, RunView, Why};
use stepmill_protocol::{Problem, RunId, StepPath};

use super::{PARTITIONS, System};

/// Two steps that no worker serves: operators say what they gave.
const TWO: &str = "do: [{ a: { call: a } }, { b: { call: b } }]";
const A: &str = "/do/0/a";
const B: &str = "/do/1/b";

fn why(reason: &str) -> Why {
    Why { by: "ann".into(), reason: reason.into(), id: None }
}

async fn two(system: &System) -> RunId {
    system.define("two", TWO).await;
    system.submit("two", json!({})).await
}

fn at(path: &str) -> StepPath {
    StepPath(path.into())
}

async fn set(system: &System, run: RunId, step: &str, output: Value) -> Result<Acknowledged, Problem> {
    let request = OutputRequest { run, step: at(step), token: None, output, why: why("by hand") };
    system.client.set(&request).await
}

async fn skip(system: &System, run: RunId, step: &str) -> Result<Acknowledged, Problem> {
    let request = OutputRequest { run, step: at(step), token: None, output: Value::Null, why: why("not needed") };
    system.client.skip(&request).await
}

async fn rerun(system: &System, run: RunId, step: &str) -> Result<Acknowledged, Problem> {
    let request = RerunRequest { run, step: at(step), token: None, input: None, why: why("again") };
    system.client.rerun(&request).await
}

async fn view(system: &System, run: RunId) -> RunView {
    system.client.get(run).await.unwrap()
}

fn applied(answer: &Result<Acknowledged, Problem>) {
    assert!(answer.as_ref().is_ok_and(|a| a.applied), "{answer:?}");
}

fn without_effect(answer: &Result<Acknowledged, Problem>) {
    assert!(answer.as_ref().is_ok_and(|a| !a.applied && a.note.is_some()), "{answer:?}");
}

fn refused(answer: &Result<Acknowledged, Problem>, status: u16) {
    assert_eq!(answer.as_ref().map_err(|p| p.status).err(), Some(status), "{answer:?}");
}

/// Of every run that nobody has started the same is said.
pub(super) async fn a_run_that_is_not_there_is_named(system: System) {
    // Of a partition whose owner knows all that came before it: it publishes.
    let known = two(&system).await;
    system.until_published(known, 1).await;
    let partition = known.partition(PARTITIONS).0;
    let run = RunId(uuid::Uuid::from_u128(u128::from(partition + PARTITIONS)));
    refused(&system.client.terminate(run, &why("")).await, 404);
    refused(&system.client.pause(run, &why("")).await, 404);
    refused(&system.client.resume(run, &why("")).await, 404);
    refused(&rerun(&system, run, A).await, 404);
    refused(&skip(&system, run, A).await, 404);
    refused(&set(&system, run, A, json!(1)).await, 404);
}

pub(super) async fn terminate_ends_a_run_and_those_below(mut system: System) {
    system.define("leaf", "do: [{ long: { wait: { hours: 1 } } }]").await;
    let step = "run: { workflow: { namespace: default, name: leaf, version: latest } }";
    system.define("top", &format!("do: [{{ a: {{ {step} }} }}]")).await;
    let top = system.submit("top", json!({})).await;
    system.until_runs("leaf", |runs| runs.len() == 1).await;
    applied(&system.client.terminate(top, &why("it burns")).await);
    without_effect(&system.client.terminate(top, &why("it burns")).await);
    without_effect(&system.client.pause(top, &why("")).await);
    refused(&set(&system, top, A, json!(1)).await, 409);
    system.replace().await;
    let leaf = system.until_runs("leaf", |runs| runs[0].state == RunState::Cancelled).await;
    for ended in [&leaf[0], &view(&system, top).await] {
        let problem = ended.error.as_ref().unwrap();
        assert!(problem.kind.ends_with("/terminated"), "{ended:?}");
    }
    let acts = view(&system, top).await.acts;
    assert_eq!((acts.len(), acts[0].by.as_str(), acts[0].reason.as_str()), (1, "ann", "it burns"), "{acts:?}");
    let history = system.client.history(top, 0).await.unwrap().entries;
    let told = history.iter().find(|entry| entry.event == "terminate").unwrap();
    assert_eq!((&told.record["by"], &told.record["reason"]), (&json!("ann"), &json!("it burns")));
}

pub(super) async fn a_paused_run_begins_nothing_until_it_is_resumed(mut system: System) {
    let run = two(&system).await;
    without_effect(&system.client.resume(run, &why("")).await);
    applied(&system.client.pause(run, &why("look at it")).await);
    without_effect(&system.client.pause(run, &why("again")).await);
    system.replace().await;
    // What comes is folded, and what follows waits.
    applied(&set(&system, run, A, json!(1)).await);
    let paused = view(&system, run).await;
    assert_eq!(paused.paused.as_ref().map(|p| (p.by.as_str(), p.reason.as_str())), Some(("ann", "look at it")));
    assert_eq!(
        (paused.steps_done, paused.live[0].waits_for),
        (1, stepmill_protocol::api::WaitsFor::Turn),
        "{paused:?}"
    );
    applied(&system.client.resume(run, &why("seen")).await);
    without_effect(&system.client.resume(run, &why("seen")).await);
    let going = view(&system, run).await;
    assert_eq!((going.paused, going.live[0].path.to_string()), (None, B.to_owned()));
    system.until_published(run, 2).await;
    let acts: Vec<_> =
        going.acts.iter().map(|act| (act.act.as_str(), act.before.as_str(), act.after.as_str())).collect();
    let expected = [("pause", "running", "paused"), ("set", "paused", "paused"), ("unpause", "paused", "running")];
    assert_eq!(acts, expected);
}

pub(super) async fn a_failed_step_is_done_again(mut system: System) {
    let limited = "do: [{ a: { call: a, timeout: { after: { milliseconds: 200 } } } }, { b: { call: b } }]";
    system.define("limited", limited).await;
    let run = system.submit("limited", json!({})).await;
    refused(&rerun(&system, run, A).await, 409);
    assert_eq!(system.result(run).await.state, RunState::Faulted);
    refused(&rerun(&system, run, B).await, 404);
    system.replace().await;
    let id = Some(uuid::Uuid::new_v4());
    let request = RerunRequest { run, step: at(A), token: None, input: None, why: Why { id, ..why("again") } };
    applied(&system.client.rerun(&request).await);
    without_effect(&system.client.rerun(&request).await);
    system.until_published(run, 2).await;
    applied(&set(&system, run, A, json!({ "n": 1 })).await);
    applied(&set(&system, run, B, json!({ "n": 2 })).await);
    let ended = system.result(run).await;
    assert_eq!((ended.state, ended.output), (RunState::Completed, Some(json!({ "n": 2 }))));
    refused(&rerun(&system, run, A).await, 409);
    assert!(system.runs_of("limited").await.iter().all(|r| r.state == RunState::Completed));
}

pub(super) async fn a_step_is_left_out_or_given_its_result(system: System) {
    let run = two(&system).await;
    refused(&skip(&system, run, B).await, 404);
    refused(&set(&system, run, "/do/9/nowhere", json!(1)).await, 404);
    applied(&skip(&system, run, A).await);
    refused(&skip(&system, run, A).await, 404);
    applied(&set(&system, run, B, json!("done")).await);
    refused(&set(&system, run, B, json!("done")).await, 409);
    refused(&skip(&system, run, B).await, 409);
    assert_eq!(system.result(run).await.output, Some(json!("done")));
    // A step that failed and ended the run is gone past, too.
    let error = "{ type: 'https://example.com/no', status: 418, title: No }";
    system.define("fails", &format!("do: [{{ a: {{ raise: {{ error: {error} }} }} }}, {{ b: {{ call: b }} }}]")).await;
    let failed = system.submit("fails", json!({})).await;
    assert_eq!(system.result(failed).await.state, RunState::Faulted);
    applied(&skip(&system, failed, A).await);
    applied(&set(&system, failed, B, json!("after all")).await);
    assert_eq!(system.result(failed).await.output, Some(json!("after all")));
}
