//! The Redis adapter: the suites of its ports, and what only a server of its own can do to it.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stepmill_coordinator::port::store::{Cursor, Lease, Store, StoreError};
use stepmill_coordinator::store::redis::{Profile, RedisOptions, RedisStore, profile_mismatches};
use stepmill_protocol::api::RunState;
use stepmill_protocol::{PartitionNo, TimerId, Timestamp};
use stepmill_tests::server::{RedisServer, RedisSync};

use crate::store::support::{
    LONG_MS, Owner, P, at, command, commit, entry, is_stale, lease, listed, load_one, new_run, picture, query, run,
    until, value, write,
};

async fn connect(server: &RedisServer, prefix: &str) -> RedisStore {
    let options = RedisOptions { prefix: prefix.into(), ..RedisOptions::default() };
    RedisStore::connect(&server.url(), options).await.unwrap()
}

async fn shared(server: &RedisServer, prefix: &str) -> Arc<dyn Store> {
    Arc::new(connect(server, prefix).await)
}

/// A plain client beside the store.
async fn operator(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: redis::FromRedisValue>(to: &mut redis::aio::MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    for word in words {
        cmd.arg(word);
    }
    cmd.query_async(to).await.unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    crate::store::all(async |name| shared(&server, name).await).await;
}

/// A node of a cluster refuses scripts that touch keys of two slots, so this shows that a partition's keys stay together.
#[tokio::test]
async fn it_keeps_the_contract_on_a_node_of_a_cluster() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &["--cluster-enabled", "yes"]).unwrap();
    let mut operator = operator(&server).await;
    ask::<()>(&mut operator, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    until("the cluster is up", async || {
        ask::<String>(&mut operator.clone(), "CLUSTER INFO").await.contains("cluster_state:ok")
    })
    .await;
    crate::store::all(async |name| shared(&server, name).await).await;
}

#[tokio::test]
async fn an_emptied_server_is_noticed() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let store = connect(&server, "sm").await;
    let mut owner = Owner::new(&store).await;
    owner.write(vec![new_run(1)]).await;
    ask::<()>(&mut operator(&server).await, "FLUSHALL").await;
    let mut next = owner.next();
    next.runs = vec![new_run(2)];
    assert!(is_stale(&store.commit(next).await));
    assert_eq!(store.renew(&[(P, owner.lease.clone())], LONG_MS).await.unwrap(), [false]);
    assert_eq!(picture(&store, 2).await.runs, [None, None]);
    // The coordinator knows its epoch and asks for a higher one.
    let again = store.acquire(P, "a", LONG_MS, owner.lease.epoch + 1).await.unwrap().unwrap();
    assert!(again.epoch > owner.lease.epoch);
    store.commit(commit(&again, &Cursor::default(), &at(7))).await.unwrap();
}

#[tokio::test]
async fn it_comes_back_after_a_restart() {
    let mut server = RedisServer::start().unwrap();
    let store = connect(&server, "sm").await;
    let mut owner = Owner::new(&store).await;
    owner.write(vec![new_run(1)]).await;
    server.kill().unwrap();
    assert!(matches!(store.commit(owner.next()).await, Err(StoreError::Unavailable(_))));
    server.restart().unwrap();
    until("reads work again", async || store.cursor(P).await.is_ok()).await;
    // The new process does not know the scripts; neither a single one nor several in a pipeline.
    let leases = [(P, owner.lease.clone()), (PartitionNo(9), Lease { owner: "a".into(), epoch: 1 })];
    until("leases are renewed", async || store.renew(&leases, LONG_MS).await.is_ok_and(|held| held == [true, false]))
        .await;
    ask::<()>(&mut operator(&server).await, "SCRIPT FLUSH").await;
    owner.write(vec![new_run(2)]).await;
    until("lists work again", async || store.list(P, &query()).await.is_ok()).await;
    assert_eq!(listed(&store, &query()).await, [2, 1], "what was committed before the kill is there");
    assert!(load_one(&store, 1).await.is_some());
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_until_it_goes_on() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let quick = Duration::from_millis(300);
    let options = RedisOptions { connect_timeout: quick, response_timeout: quick, ..RedisOptions::default() };
    let store = RedisStore::connect(&server.url(), options).await.unwrap();
    let mut owner = Owner::new(&store).await;
    let pid = Pid::from_raw(server.pid().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    // The first waits for an answer, the next for a connection.
    for _ in 0..2 {
        assert!(matches!(store.commit(owner.next()).await, Err(StoreError::Unavailable(_))));
    }
    kill(pid, Signal::SIGCONT).unwrap();
    // What was sent while it hung may be written, now or later, or not at all; the cursor says which.
    until("a commit from the stored cursor is taken", async || {
        let Ok(stored) = store.cursor(P).await else { return false };
        assert!(stored.is_none() || stored == Some(at(1)), "{stored:?}");
        owner.cursor = stored.unwrap_or_default();
        let mut next = owner.next();
        next.runs = vec![new_run(1)];
        store.commit(next).await.is_ok()
    })
    .await;
    assert!(load_one(&store, 1).await.is_some());
}

#[tokio::test]
async fn a_server_that_may_throw_runs_away_is_refused() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &["--maxmemory-policy", "allkeys-lru"]).unwrap();
    let refused = RedisStore::connect(&server.url(), RedisOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    ask::<()>(&mut operator(&server).await, "CONFIG SET maxmemory-policy noeviction").await;
    let store = connect(&server, "sm").await;
    assert_eq!(store.settings().appendfsync.as_deref(), Some("everysec"));
    assert_eq!(profile_mismatches(Profile::Dev, store.settings()), [""; 0]);
    assert_eq!(profile_mismatches(Profile::Single, store.settings()).len(), 1);
    ask::<()>(&mut operator(&server).await, "CONFIG SET appendfsync always").await;
    let store = connect(&server, "sm").await;
    assert_eq!(profile_mismatches(Profile::Single, store.settings()), [""; 0]);
    assert_eq!(profile_mismatches(Profile::Cluster, store.settings()).len(), 1);
}

/// What managed servers do, and what remains knowable then.
#[tokio::test]
async fn a_server_that_hides_its_settings_is_taken() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &["--rename-command", "CONFIG", ""]).unwrap();
    let store = connect(&server, "sm").await;
    assert_eq!(store.settings().maxmemory_policy.as_deref(), Some("noeviction"));
    assert_eq!((store.settings().appendonly, store.settings().appendfsync.as_deref()), (Some(true), None));
}

#[tokio::test]
async fn bad_addresses_and_prefixes_are_refused() {
    for bad in ["", "localhost", "http://localhost:6379", "redis://:0/x"] {
        let refused = RedisStore::connect(bad, RedisOptions::default()).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{bad:?}: {:?}", refused.err());
    }
    let options = RedisOptions { prefix: "a{b}".into(), ..RedisOptions::default() };
    assert!(matches!(RedisStore::connect("redis://127.0.0.1:1", options).await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn a_full_or_demoted_server_takes_no_part_of_a_commit() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let store = connect(&server, "sm").await;
    let mut operator = operator(&server).await;
    let mut owner = Owner::new(&store).await;
    owner
        .commit(|c| {
            c.runs = vec![new_run(1)];
            c.outbox_put = vec![entry(command(1, 1), None)];
        })
        .await;
    let before = picture(&store, 2).await;
    let change = |owner: &Owner<'_>| {
        let mut next = owner.next();
        next.runs = vec![write(1, Some(RunState::Running), RunState::Completed), new_run(2)];
        next.outbox_drop = vec![command(1, 1)];
        next
    };
    ask::<()>(&mut operator, "CONFIG SET maxmemory 1mb").await;
    let full = store.commit(change(&owner)).await;
    assert!(matches!(&full, Err(StoreError::Refused(_))), "{full:?}");
    assert_eq!(picture(&store, 2).await, before);
    ask::<()>(&mut operator, "CONFIG SET maxmemory 0").await;
    ask::<()>(&mut operator, "REPLICAOF 127.0.0.1 1").await;
    let demoted = store.commit(change(&owner)).await;
    assert!(matches!(&demoted, Err(StoreError::Unavailable(_))), "{demoted:?}");
    ask::<()>(&mut operator, "REPLICAOF NO ONE").await;
    assert_eq!(picture(&store, 2).await, before);
    store.commit(change(&owner)).await.unwrap();
}

/// A million waiting runs are to fit into little more than a gigabyte.
#[tokio::test]
async fn a_waiting_run_takes_little_memory() {
    const RUNS: u128 = 20_000;
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let store = connect(&server, "sm").await;
    let mut operator = operator(&server).await;
    let mut owner = Owner::new(&store).await;
    let used = async |operator: &mut redis::aio::MultiplexedConnection| -> u64 {
        let info: String = ask(operator, "INFO memory").await;
        let line = info.lines().find_map(|l| l.strip_prefix("used_memory_dataset:")).unwrap();
        line.trim().parse().unwrap()
    };
    let before = used(&mut operator).await;
    for first in (0..RUNS).step_by(1_000) {
        let mut runs: Vec<_> = (first..first + 1_000).map(|n| new_run(n << 64 | n)).collect();
        for write in &mut runs {
            write.control = vec![b'c'; 300];
        }
        owner.write(runs).await;
    }
    let per_run = (used(&mut operator).await - before) / RUNS as u64;
    println!("{per_run} bytes per run");
    assert!((300..=1_200).contains(&per_run), "{per_run} bytes per run");
}

#[tokio::test]
async fn every_key_begins_with_the_prefix_and_its_partition() {
    let server = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let store = connect(&server, "other.prefix-1").await;
    let lease = lease(&store).await;
    let mut all = commit(&lease, &Cursor::default(), &at(1));
    let mut ended = write(2, None, RunState::Completed);
    ended.expire_ms = Some(LONG_MS);
    ended.values_put = vec![value(1, "one")];
    all.runs = vec![new_run(1), ended];
    all.outbox_put = vec![entry(command(1, 1), None)];
    all.timers_put = vec![(run(1), TimerId(1), Timestamp(1))];
    store.commit(all).await.unwrap();
    store.beat("a", LONG_MS).await.unwrap();
    store.partitions(4).await.unwrap();
    let mut operator = operator(&server).await;
    let keys: Vec<String> = ask(&mut operator, "KEYS *").await;
    // Record, lease, two runs, values, outbox, timers, live, ended, two lists and two per state; members and partitions.
    assert_eq!(keys.len(), 15, "{keys:?}");
    let of_partition = keys.iter().filter(|k| k.starts_with("other.prefix-1:{p3}:")).count();
    assert_eq!((of_partition, keys.iter().filter(|k| k.starts_with("other.prefix-1:")).count()), (13, 15));
    store.clear(P, &lease).await.unwrap();
    let mut left: Vec<String> = ask(&mut operator, "KEYS *{p3}*").await;
    left.sort();
    assert_eq!(left, ["other.prefix-1:{p3}:cur", "other.prefix-1:{p3}:own"]);
}
