//! The configurations of the servers: each is taken by the real server and promises what its profile needs; and the coordinator
//! names the setting where one promises less.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use stepmill_tests::cluster::stepmill_program;
use stepmill_tests::server::{NatsServer, NatsSetup, RedisServer, RedisSync, repository};

fn deployed(path: &str) -> PathBuf {
    repository().join("deploy").join(path)
}

/// A Redis with one of our configurations, but for its place.
fn redis(profile: &str, more: &[&str]) -> RedisServer {
    RedisServer::start_from(&deployed(&format!("redis/{profile}.conf")), more).unwrap()
}

fn nats(profile: &str) -> NatsServer {
    NatsServer::start_from(&deployed(&format!("nats/{profile}.conf"))).unwrap()
}

/// Runs a coordinator that is expected to refuse.
fn refused(nats: &NatsServer, redis: &RedisServer, profile: &str) -> String {
    let mut command = Command::new(stepmill_program().unwrap());
    command.args(["coordinator", "--nats", &nats.url(), "--redis", &redis.url(), "--profile", profile]);
    let Output { status, stderr, .. } = command.env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a coordinator until it is ready; gives its metrics.
async fn accepted(nats: &NatsServer, redis: &RedisServer, profile: &str) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = tokio::process::Command::new(stepmill_program().unwrap());
    command.args(["coordinator", "--nats", &nats.url(), "--redis", &redis.url(), "--profile", profile]);
    let mut child = command.args(["--http", &address]).kill_on_drop(true).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        let ready = reqwest::get(format!("http://{address}/ready")).await;
        if ready.is_ok_and(|answer| answer.status().is_success()) {
            break;
        }
        assert!(Instant::now() < deadline, "it is never ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let live = reqwest::get(format!("http://{address}/live")).await.unwrap();
    assert_eq!(live.status(), 200);
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    metrics.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_profile_for_one_node_holds_with_its_configurations_and_not_with_others() {
    let (nats, safe, plain) = (nats("single"), redis("single", &[]), redis("dev", &[]));
    let said = refused(&nats, &plain, "single");
    assert!(said.contains("CONFIG SET appendfsync always"), "{said}");
    let metrics = accepted(&nats, &safe, "single").await;
    for pool in ["default", "llm", "agent"] {
        let idle = format!("stepmill_backlog_seconds{{pool=\"{pool}\"}} 0.0");
        assert!(metrics.lines().any(|line| line == idle), "{idle} is missing in\n{metrics}");
    }
    assert!(metrics.lines().any(|line| line == "stepmill_partitions_owned 8.0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_profile_for_development_holds_with_its_configurations() {
    let (nats, redis) = (nats("dev"), redis("dev", &[]));
    accepted(&nats, &redis, "dev").await;
}

#[test]
fn a_cluster_is_asked_for_by_the_settings_that_make_one() {
    let primary = redis("cluster", &[]);
    let alone = NatsServer::start().unwrap();
    let said = refused(&alone, &primary, "cluster");
    assert!(said.contains("replicaof"), "{said}");
    let port = primary.url().rsplit(':').next().unwrap().to_owned();
    let replica = redis("cluster", &["--replicaof", "127.0.0.1", &port]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let said = loop {
        let said = refused(&alone, &primary, "cluster");
        if !said.contains("replicaof") {
            break said;
        }
        assert!(Instant::now() < deadline, "the replica never came: {}", replica.log());
    };
    assert!(said.contains("`cluster { name, listen, routes }`"), "{said}");
}

#[test]
fn a_broker_with_small_messages_is_refused_by_the_name_of_the_setting() {
    let nats = NatsServer::start_with(&NatsSetup { max_payload: 256 * 1024, ..NatsSetup::default() }).unwrap();
    let redis = RedisServer::start_with(RedisSync::EverySecond, &[]).unwrap();
    let said = refused(&nats, &redis, "dev");
    assert!(said.contains("set `max_payload: 1MB`"), "{said}");
}

#[test]
fn the_configuration_for_clusters_is_read_and_names_all_nodes() {
    let text = std::fs::read_to_string(deployed("nats/cluster.conf")).unwrap();
    let checked = Command::new(stepmill_tests::server::nats_server_program().unwrap())
        .args(["-t", "-c"])
        .arg(deployed("nats/cluster.conf"))
        .env("NATS_NAME", "nats-0")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for node in ["nats-0", "nats-1", "nats-2"] {
        assert!(text.contains(&format!("\"nats://{node}:6222\"")), "{node} is no route");
    }
}
