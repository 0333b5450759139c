//! What is kept beside the log.

use stepmill_coordinator::port::store::StoredDefinition;
use stepmill_protocol::{Digest, Namespace, Timestamp, Version, WorkflowName};

use super::support::Case;

fn definition(name: &str, version: &str, at: u64) -> StoredDefinition {
    StoredDefinition {
        digest: Digest(format!("{name}{version}").into()),
        namespace: Namespace::new("team").unwrap(),
        name: WorkflowName::new(name).unwrap(),
        version: Version(version.into()),
        source: format!("document: {{name: {name}}}\n# ü"),
        registered_at: Timestamp(at),
    }
}

pub(crate) async fn definitions_are_kept(case: &Case) {
    let mut kept =
        vec![definition("a", "1.0.0", 10), definition("b", "1.0.0-rc.1+x", 20), definition("a", "2.0.0", 30)];
    for definition in kept.iter().rev() {
        case.archive.keep_definition(definition).await.unwrap();
    }
    case.archive.keep_definition(&kept[0]).await.unwrap();
    let mut found = case.archive.definitions().await.unwrap();
    found.sort_by_key(|d| d.registered_at);
    kept.sort_by_key(|d| d.registered_at);
    assert_eq!(found, kept);
}
