//! `schedule`.

use std::time::Duration;

use serde_json::json;
use stepmill_coordinator::port::store::StoredDefinition;
use stepmill_protocol::api::RunState;
use stepmill_protocol::{CloudEvent, Timestamp};

use super::System;

fn document(version: &str, schedule: &str, body: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: default, name: beat, version: '{version}' }}\n{schedule}do: [{{ a: {body} }}]"
    )
}

const NOTHING: &str = "{ set: { done: true } }";
const OFTEN: &str = "schedule: { every: { milliseconds: 150 } }\n";

pub(super) async fn runs_start_again_and_again(mut system: System) {
    system.client.define(&document("1.0.0", OFTEN, NOTHING)).await.unwrap();
    // A definition that is registered again changes nothing.
    system.client.define(&document("1.0.0", OFTEN, NOTHING)).await.unwrap();
    system.until_runs("beat", |runs| runs.len() >= 3).await;
    system.replace().await;
    let before = system.runs_of("beat").await.len();
    let runs = system.until_runs("beat", |runs| runs.len() >= before + 3).await;
    let mut times: Vec<u64> = runs.iter().map(|run| run.submitted_at.0).collect();
    times.sort_unstable();
    let closest = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= 20, "no time is used twice: {times:?}");
    let keepers = system.runs_of("beat_schedule").await;
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    assert!(runs.iter().all(|run| run.parent.as_ref().is_some_and(|p| p.run == keepers[0].run)), "{runs:?}");
}

pub(super) async fn a_newer_version_replaces_it(system: System) {
    system.client.define(&document("1.0.0", OFTEN, NOTHING)).await.unwrap();
    system.client.define(&document("2.0.0", "schedule: { cron: '0 0 29 2 *' }\n", NOTHING)).await.unwrap();
    let keepers = system.runs_of("beat_schedule").await;
    let state = |version: &str| keepers.iter().find(|run| run.version.0 == version).map(|run| run.state);
    assert_eq!((state("1.0.0"), state("2.0.0")), (Some(RunState::Cancelled), Some(RunState::Running)));
    let newest = keepers.iter().find(|run| run.version.0 == "2.0.0").unwrap();
    let due = system.client.get(newest.run).await.unwrap().live[0].until.unwrap();
    assert_eq!(due.0 % 86_400_000, 0, "midnight in UTC");
    // The older one is not the newest again by being registered again.
    system.client.define(&document("1.0.0", OFTEN, NOTHING)).await.unwrap();
    system.client.define(&document("3.0.0", "", NOTHING)).await.unwrap();
    let keepers = system.runs_of("beat_schedule").await;
    assert!(keepers.len() == 2 && keepers.iter().all(|run| run.state == RunState::Cancelled), "{keepers:?}");
}

pub(super) async fn one_start_catches_up(mut system: System) {
    let schedule = "schedule: { every: { milliseconds: 700 } }\n";
    system.client.define(&document("1.0.0", schedule, NOTHING)).await.unwrap();
    system.until_runs("beat", |runs| runs.len() == 1).await;
    drop(system.running.take());
    // Nobody is there for three of its times.
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    system.begin().await;
    let mut runs = system.until_runs("beat", |runs| runs.len() >= 3).await;
    runs.sort_unstable_by_key(|run| run.submitted_at);
    let (missed, beat) = (runs[1].submitted_at, runs[2].submitted_at);
    assert!(beat.since(missed).0 > 20, "one start catches up, the next is on the beat: {runs:?}");
    assert!(missed.since(runs[0].submitted_at).0 >= 2_000, "{runs:?}");
}

pub(super) async fn one_run_after_the_other(system: System) {
    let schedule = "schedule: { after: { milliseconds: 100 } }\n";
    system.client.define(&document("1.0.0", schedule, "{ wait: { milliseconds: 200 } }")).await.unwrap();
    let mut runs = system.until_runs("beat", |runs| runs.len() >= 3).await;
    runs.sort_unstable_by_key(|run| run.submitted_at);
    for pair in runs.windows(2) {
        let pause = pair[1].submitted_at.since(pair[0].ended_at.unwrap());
        assert!(pause.0 >= 100, "{pair:?}");
    }
}

pub(super) async fn a_name_of_the_systems_own_is_refused(system: System) {
    let text = document("1.0.0", "", NOTHING).replace("name: beat", "name: beat_schedule");
    let refused = system.client.define(&text).await.unwrap_err();
    assert!(refused.to_string().contains("_schedule"), "{refused}");
}

pub(super) async fn a_newer_version_ends_no_run(system: System) {
    let schedule = "schedule: { after: { milliseconds: 100 } }\n";
    system
        .client
        .define(&document("1.0.0", schedule, "{ listen: { to: { one: { with: { type: go } } } } }"))
        .await
        .unwrap();
    let runs = system.until_runs("beat", |runs| runs.len() == 1).await;
    system.client.define(&document("2.0.0", "", NOTHING)).await.unwrap();
    let keepers = system.runs_of("beat_schedule").await;
    assert!(keepers.len() == 1 && keepers[0].state == RunState::Cancelled, "{keepers:?}");
    let go = json!({ "specversion": "1.0", "id": "1", "source": "/test", "type": "go" });
    system.client.event(&CloudEvent::try_from(go).unwrap()).await.unwrap();
    let view = system.result(runs[0].run).await;
    assert_eq!(view.state, RunState::Completed, "the run in flight goes on: {view:?}");
}

pub(super) async fn one_that_another_product_version_wrote_goes_on(system: System) {
    let text = document("1.0.0", OFTEN, NOTHING);
    let plan = stepmill_definition::compile(&text).unwrap().plan;
    let source = plan.keeper().unwrap().replace("\"start\"", "\"begin\"");
    let keeper = stepmill_definition::compile(&source).unwrap().plan;
    let written = StoredDefinition {
        digest: keeper.digest,
        namespace: keeper.namespace,
        name: keeper.name,
        version: keeper.version,
        source,
        registered_at: Timestamp(1),
    };
    system.ports.store.put_definition(&written).await.unwrap();
    system.client.define(&text).await.unwrap();
    system.until_runs("beat", |runs| runs.len() >= 2).await;
    assert_eq!(system.runs_of("beat_schedule").await[0].digest, written.digest);
}
