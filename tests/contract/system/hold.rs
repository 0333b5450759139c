//! Tasks of a workflow, a namespace or a pool are held back.

use serde_json::json;
use stepmill_protocol::api::{HoldRequest, SubmitRequest, Why};
use stepmill_protocol::{Namespace, RunId, Scope, WorkflowName};

use super::{PARTITIONS, System};

const ONE: &str = "do: [{ a: { call: a } }]";

fn request(workflow: Option<&str>, pool: Option<&str>) -> HoldRequest {
    let why = Why { by: "ann".into(), reason: "the shop is down".into(), id: None };
    HoldRequest { workflow: workflow.map(|w| w.parse().unwrap()), pool: pool.map(|p| p.parse().unwrap()), why }
}

/// Submits a run of `workflow` whose partition is that of `beside`.
async fn beside(system: &System, workflow: &str, beside: RunId) -> RunId {
    let (namespace, name) = (Namespace::new("default").unwrap(), WorkflowName::new(workflow).unwrap());
    let is_beside =
        |key: &String| RunId::derived(&namespace, &name, key).partition(PARTITIONS) == beside.partition(PARTITIONS);
    let key = (0..).map(|n| format!("key-{n}")).find(is_beside);
    system.client.submit(&SubmitRequest { workflow: name, version: None, input: json!({}), key }).await.unwrap().run
}

/// What is held stays so while others go on and when another coordinator takes over, and goes on when it is let go.
async fn held_and_let_go(mut system: System, hold: HoldRequest, other: Option<&str>) {
    system.define("one", ONE).await;
    system.define("two", &ONE.replace("call: a", "call: a, metadata: { pool: second }")).await;
    let again = system.client.release(&hold).await.unwrap();
    assert!(!again.applied && again.note.is_some(), "{again:?}");
    assert!(system.client.hold(&hold).await.unwrap().applied);
    let again = system.client.hold(&hold).await.unwrap();
    assert!(!again.applied && again.note.is_some_and(|note| note.contains("by ann")));
    let run = system.submit("one", json!({})).await;
    for _ in 0..2 {
        if let Some(other) = other {
            // Had the first not been held, its task would have been published before this one's.
            let free = beside(&system, other, run).await;
            system.until_published_in(if other == "two" { "second" } else { "default" }, free, 1).await;
        }
        assert!(!system.is_published("default", run, 1).await);
        system.replace().await;
    }
    let holds = system.client.holds().await.unwrap().holds;
    assert_eq!(holds.len(), 1, "{holds:?}");
    assert_eq!((holds[0].by.as_str(), holds[0].reason.as_str()), ("ann", "the shop is down"));
    assert!(system.client.release(&hold).await.unwrap().applied);
    system.until_published(run, 1).await;
    assert_eq!(system.client.holds().await.unwrap().holds, []);
    assert!(!system.client.release(&hold).await.unwrap().applied);
}

pub(super) async fn a_workflow_is_held_back(system: System) {
    held_and_let_go(system, request(Some("one"), None), Some("two")).await;
}

pub(super) async fn a_pool_is_held_back(system: System) {
    held_and_let_go(system, request(None, Some("default")), Some("two")).await;
}

pub(super) async fn a_namespace_is_held_back(system: System) {
    held_and_let_go(system, request(None, None), None).await;
}

pub(super) async fn what_cannot_be_held_back_is_said(system: System) {
    let both = system.client.hold(&request(Some("one"), Some("default"))).await.unwrap_err();
    assert_eq!(both.status, 400, "{both}");
    let own = system.client.hold(&request(None, Some("system"))).await.unwrap_err();
    assert_eq!(own.status, 400, "{own}");
    let unknown = system.client.hold(&request(Some("not-yet-there"), None)).await.unwrap();
    assert!(unknown.applied, "a workflow can be held back before it is registered");
    let scope = Scope::Workflow {
        namespace: Namespace::new("default").unwrap(),
        workflow: WorkflowName::new("not-yet-there").unwrap(),
    };
    assert_eq!(unknown.scope, scope);
}
