//! `emit` and `schedule.on`.

use serde_json::{Value, json};
use stepmill_protocol::CloudEvent;
use stepmill_protocol::api::RunState;

use super::System;

fn event(id: &str, kind: &str, data: Value) -> CloudEvent {
    let event = json!({ "specversion": "1.0", "id": id, "source": "/test", "type": kind, "data": data });
    CloudEvent::try_from(event).unwrap()
}

const EAR: &str = "do: [{ hear: { listen: { to: { one: { with: { type: order.placed } } }, read: envelope } } }]";
const MOUTH: &str = "do: [{ tell: { emit: { event: { with: { type: order.placed, data: '${ . }' } } } } }]";

pub(super) async fn what_is_emitted_is_heard(system: System) {
    system.define("ear", EAR).await;
    system.define("mouth", MOUTH).await;
    let ear = system.submit("ear", Value::Null).await;
    let told = system.output("mouth", json!({ "n": 7 })).await;
    assert_eq!((&told["source"], &told["data"]["n"]), (&json!("/default/mouth/1.0.0"), &json!(7)));
    assert_eq!(system.result(ear).await.output.unwrap(), json!([told]));
}

const ON_ONE: &str = "schedule: { on: { one: { with: { type: 'beat.*' } } } }\n";

fn document(version: &str, schedule: &str, body: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: default, name: beat, version: '{version}' }}\n{schedule}do: [{{ a: {body} }}]"
    )
}

const ECHO: &str = "{ set: { got: '${ $workflow.input }', version: '${ $workflow.definition.document.version }' } }";

fn got(runs: &[stepmill_protocol::api::RunView]) -> bool {
    runs.iter().all(|run| run.state == RunState::Completed)
}

pub(super) async fn each_event_starts_a_run(mut system: System) {
    system.client.define(&document("1.0.0", ON_ONE, ECHO)).await.unwrap();
    for n in 0..20 {
        system.client.event(&event(&format!("e{n}"), "beat.it", json!(n))).await.unwrap();
        system.client.event(&event(&format!("o{n}"), "other", json!(n))).await.unwrap();
    }
    system.until_runs("beat", |runs| runs.len() == 20 && got(runs)).await;
    system.replace().await;
    // One that was there before is no event any more.
    system.client.event(&event("e1", "beat.it", json!(1))).await.unwrap();
    system.client.event(&event("e20", "beat.it", json!(20))).await.unwrap();
    let runs = system.until_runs("beat", |runs| runs.len() >= 21 && got(runs)).await;
    let mut seen = Vec::new();
    for run in &runs {
        let output = system.result(run.run).await.output.unwrap();
        seen.push(output["got"][0].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..=20).collect::<Vec<_>>(), "each event starts one run");
    let keepers = system.runs_of("beat_schedule").await;
    assert!(keepers.len() == 1 && keepers[0].state == RunState::Running, "{keepers:?}");
}

pub(super) async fn each_set_of_events_starts_a_run(system: System) {
    let schedule = "schedule: { on: { all: [{ with: { type: left } }, { with: { type: right } }] }, read: envelope }\n";
    system.client.define(&document("1.0.0", schedule, ECHO)).await.unwrap();
    for n in 0..3 {
        system.client.event(&event(&format!("l{n}"), "left", json!(n))).await.unwrap();
        system.client.event(&event(&format!("r{n}"), "right", json!(n))).await.unwrap();
    }
    let runs = system.until_runs("beat", |runs| runs.len() >= 3 && got(runs)).await;
    assert_eq!(runs.len(), 3, "{runs:?}");
    for run in runs {
        let output = system.result(run.run).await.output.unwrap();
        let set = output["got"].as_array().unwrap();
        assert_eq!((set.len(), &set[0]["data"]), (2, &set[1]["data"]), "{set:?}");
    }
    // The newest version counts.
    system.client.define(&document("2.0.0", ON_ONE, ECHO)).await.unwrap();
    system.client.event(&event("l9", "left", json!(9))).await.unwrap();
    system.client.event(&event("r9", "right", json!(9))).await.unwrap();
    system.client.event(&event("b9", "beat.it", json!(9))).await.unwrap();
    let runs = system.until_runs("beat", |runs| runs.len() >= 4 && got(runs)).await;
    let newest = runs.iter().max_by_key(|run| run.submitted_at).unwrap();
    assert_eq!((runs.len(), newest.version.0.as_str()), (4, "2.0.0"), "{runs:?}");
    let keepers = system.runs_of("beat_schedule").await;
    let state = |version: &str| keepers.iter().find(|run| run.version.0 == version).map(|run| run.state);
    assert_eq!((state("1.0.0"), state("2.0.0")), (Some(RunState::Cancelled), Some(RunState::Running)));
}
