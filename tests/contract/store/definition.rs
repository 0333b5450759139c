//! Definitions.

use futures::future::join_all;
use stepmill_coordinator::port::store::{Store, StoredDefinition};
use stepmill_protocol::{Digest, Timestamp, Version};

use super::support::{ns, wf};

fn version(text: &str) -> Version {
    Version(text.into())
}

/// `seed` stands for the source; equal seeds have equal digests.
fn definition(name: &str, of: &str, seed: u8, registered: u64) -> StoredDefinition {
    StoredDefinition {
        digest: Digest(format!("{seed:02x}").repeat(32).into()),
        namespace: ns("n"),
        name: wf(name),
        version: version(of),
        source: format!("document: {{ dsl: 1.0.3 }} # ü\r\n\0 {seed}"),
        registered_at: Timestamp(registered),
    }
}

async fn find(store: &dyn Store, name: &str, of: Option<&str>) -> Option<StoredDefinition> {
    let version = of.map(version);
    let found = store.find_definition(&ns("n"), &wf(name), version.as_ref()).await.unwrap();
    let digest = store.find_digest(&ns("n"), &wf(name), version.as_ref()).await.unwrap();
    assert_eq!(digest, found.as_ref().map(|found| found.digest.clone()));
    found
}

pub(crate) async fn versions_point_to_definitions(store: &dyn Store) {
    let first = definition("a", "1.0.0", 1, 10);
    assert_eq!(store.definition(&first.digest).await.unwrap(), None);
    assert_eq!((find(store, "a", None).await, find(store, "a", Some("1.0.0")).await), (None, None));
    assert_eq!(store.put_definition(&first).await.unwrap(), (first.clone(), true));
    assert_eq!(store.put_definition(&first).await.unwrap(), (first.clone(), false));
    let second = definition("a", "1.1.0-rc.1+b 2", 2, 11);
    let other = definition("b", "1.0.0", 3, 12);
    store.put_definition(&second).await.unwrap();
    store.put_definition(&other).await.unwrap();
    for given in [&first, &second, &other] {
        assert_eq!(store.definition(&given.digest).await.unwrap().as_ref(), Some(given));
        assert_eq!(find(store, given.name.as_str(), Some(&given.version.0)).await.as_ref(), Some(given));
    }
    assert_eq!(find(store, "a", Some("2.0.0")).await, None);
    assert_eq!(find(store, "b", Some("1.1.0-rc.1+b 2")).await, None);
}

pub(crate) async fn a_version_is_never_replaced(store: &dyn Store) {
    let first = definition("a", "1.0.0", 1, 10);
    store.put_definition(&first).await.unwrap();
    let rival = definition("a", "1.0.0", 2, 20);
    assert_eq!(store.put_definition(&rival).await.unwrap(), (first.clone(), false));
    assert_eq!(find(store, "a", Some("1.0.0")).await, Some(first.clone()));
    assert_eq!(find(store, "a", None).await, Some(first.clone()));
    // Registered again later, it is still the one of then.
    let later = StoredDefinition { registered_at: Timestamp(30), ..first.clone() };
    assert_eq!(store.put_definition(&later).await.unwrap(), (first, false));
}

pub(crate) async fn the_last_registered_is_the_latest(store: &dyn Store) {
    for (of, seed, registered) in
        [("1.0.0", 1, 100), ("3.0.0", 3, 300), ("2.0.0", 2, 200), ("latest", 4, 50), ("", 5, 9)]
    {
        store.put_definition(&definition("a", of, seed, registered)).await.unwrap();
    }
    assert_eq!(find(store, "a", None).await, Some(definition("a", "3.0.0", 3, 300)));
    assert_eq!(find(store, "a", Some("latest")).await, Some(definition("a", "latest", 4, 50)));
    assert_eq!(find(store, "a", Some("")).await, Some(definition("a", "", 5, 9)));
    store.put_definition(&definition("a", "0.1.0", 6, 400)).await.unwrap();
    assert_eq!(find(store, "a", None).await.unwrap().version, version("0.1.0"), "time decides, not the number");
}

pub(crate) async fn the_same_source_in_two_namespaces(store: &dyn Store) {
    let here = definition("a", "1.0.0", 1, 10);
    let there = StoredDefinition { namespace: ns("m"), registered_at: Timestamp(20), ..here.clone() };
    store.put_definition(&here).await.unwrap();
    assert_eq!(store.put_definition(&there).await.unwrap(), (there.clone(), true));
    assert_eq!(find(store, "a", None).await, Some(here.clone()));
    assert_eq!(store.find_definition(&ns("m"), &wf("a"), None).await.unwrap(), Some(there));
    assert_eq!(store.definition(&here.digest).await.unwrap().unwrap().source, here.source);
}

pub(crate) async fn of_many_registrations_at_once_one_is_new(store: &dyn Store) {
    let given: Vec<StoredDefinition> = (0..20).map(|seed| definition("a", "1.0.0", seed, u64::from(seed))).collect();
    let results = join_all(given.iter().map(|d| store.put_definition(d))).await;
    let stored = find(store, "a", None).await.unwrap();
    let new: Vec<bool> = results
        .into_iter()
        .map(|result| {
            let (answered, new) = result.unwrap();
            assert_eq!(answered, stored);
            new
        })
        .collect();
    assert_eq!(new.iter().filter(|new| **new).count(), 1);
    assert_eq!(given.iter().position(|d| *d == stored), new.iter().position(|new| *new));
}
