//! Rounds of kills under load, plain and with the stores damaged in the middle.

use std::time::Duration;

use stepmill_tests::client::JsonClient;
use stepmill_tests::cluster::{Cluster, ClusterSetup, Role, copy_folder};

use crate::check;
use crate::load::{Chance, chain, results, submit};

const PARTITIONS: u16 = 8;
const RUNS: usize = 200;

/// How often the plain test kills: `STEPMILL_CRASH_ROUNDS`, or a number that suits every day.
pub(crate) fn rounds() -> usize {
    std::env::var("STEPMILL_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

fn seed() -> u64 {
    let given = std::env::var("STEPMILL_SEED").ok().and_then(|n| n.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("STEPMILL_SEED={seed} repeats the choices of this test");
    seed
}

/// Kills a few processes at random moments and starts them again.
async fn havoc(cluster: &mut Cluster, chance: &mut Chance) {
    let kills = 1 + chance.below(3);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(chance.below(250))).await;
        let place = usize::try_from(chance.below(cluster.processes.len() as u64)).unwrap();
        println!("  kill {:?} at place {place}", cluster.processes[place].role);
        cluster.kill(place).unwrap();
        tokio::time::sleep(Duration::from_millis(chance.below(400))).await;
        cluster.revive(place).unwrap();
    }
}

/// Submits runs, lets `damage` work meanwhile, waits for the results.
async fn round<F>(
    cluster: &mut Cluster,
    client: &JsonClient,
    label: &str,
    damage: F,
) -> Vec<(String, serde_json::Value)>
where
    F: AsyncFnOnce(&mut Cluster),
{
    let submitting = client.clone();
    let name = label.to_owned();
    let submitted = tokio::spawn(async move { submit(&submitting, &name, RUNS).await });
    damage(cluster).await;
    let runs = submitted.await.unwrap();
    results(client, &runs).await
}

/// Fails with what the processes have said.
fn explain<T>(cluster: &Cluster, judged: std::thread::Result<T>) -> T {
    judged.unwrap_or_else(|panic| {
        println!("{}", cluster.logs());
        std::panic::resume_unwind(panic)
    })
}

async fn start(setup: ClusterSetup) -> (Cluster, JsonClient) {
    let cluster = Cluster::start(setup).unwrap();
    let client = cluster.client().await;
    client.define(&chain()).await;
    (cluster, client)
}

/// Rounds of kills, then the strict comparison of file, log and results.
async fn kills(setup: ClusterSetup, rounds: usize) {
    let mut chance = Chance::new(seed());
    let (mut cluster, client) = start(setup).await;
    let mut all = Vec::new();
    for n in 0..rounds {
        println!("round {n}");
        let label = format!("r{n}");
        let judged = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(round(
            &mut cluster,
            &client,
            &label,
            async |c: &mut Cluster| havoc(c, &mut chance).await,
        )))
        .await;
        all.extend(explain(&cluster, judged));
    }
    let stored = check::stored_reports(&cluster.connect().await, PARTITIONS).await;
    let traces = check::traces(&cluster.side_file());
    check::all_right(&all, &traces);
    check::as_reported(&all, &stored);
    let repeated = check::none_again(&traces, &stored);
    println!(
        "{} runs ended right; {repeated} unfinished steps were begun again, none whose report was stored",
        all.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_again_when_processes_are_killed() {
    kills(ClusterSetup::default(), rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_with_the_shortest_duplicate_window() {
    let setup = ClusterSetup { dedup_window_ms: Some(100), ..ClusterSetup::default() };
    kills(setup, (rounds() / 4).max(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_every_task_stream_is_deleted() {
    let (mut cluster, client) = start(ClusterSetup::default()).await;
    let nats = cluster.connect().await;
    let judged = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(round(
        &mut cluster,
        &client,
        "deleted",
        async |_: &mut Cluster| {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                for pool in ["default", "llm", "agent"] {
                    let subject = format!("$JS.API.STREAM.DELETE.SM_TASKS_{pool}");
                    nats.request(&subject, Vec::new(), Duration::from_secs(5)).await.unwrap();
                }
            }
        },
    )))
    .await;
    let all = explain(&cluster, judged);
    let stored = check::stored_reports(&nats, PARTITIONS).await;
    let traces = check::traces(&cluster.side_file());
    check::all_right(&all, &traces);
    check::as_reported(&all, &stored);
    check::none_again(&traces, &stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_redis_is_emptied() {
    let mut chance = Chance::new(seed());
    let (mut cluster, client) = start(ClusterSetup::default()).await;
    let judged = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(round(
        &mut cluster,
        &client,
        "flushed",
        async |c: &mut Cluster| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            c.flush_redis().unwrap();
            havoc(c, &mut chance).await;
            c.flush_redis().unwrap();
        },
    )))
    .await;
    let all = explain(&cluster, judged);
    let stored = check::stored_reports(&cluster.connect().await, PARTITIONS).await;
    let traces = check::traces(&cluster.side_file());
    check::all_right(&all, &traces);
    check::as_reported(&all, &stored);
    check::none_again(&traces, &stored);
}

/// The end of the log is lost, as a power cut leaves it: what was committed still stands, what was promised to nobody may run again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_the_log_loses_its_end() {
    let (mut cluster, client) = start(ClusterSetup::default()).await;
    let before = round(&mut cluster, &client, "before", async |_: &mut Cluster| {}).await;
    let judged = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(round(
        &mut cluster,
        &client,
        "cut",
        async |c: &mut Cluster| cut_the_log(c).await,
    )))
    .await;
    let mut all = explain(&cluster, judged);
    all.extend(before);
    // And the store can still be folded again from what is left: the copies of live runs are in the log.
    cluster.flush_redis().unwrap();
    let judged = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(round(
        &mut cluster,
        &client,
        "after",
        async |_: &mut Cluster| {},
    )))
    .await;
    all.extend(explain(&cluster, judged));
    check::all_right(&all, &check::traces(&cluster.side_file()));
}

/// Takes a copy of the log, waits for at least a hundred more messages, kills the broker and puts the copy back.
async fn cut_the_log(cluster: &mut Cluster) {
    let nats = cluster.connect().await;
    let log = stepmill_nats::Log::new(nats);
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.nats.stop().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let folder = cluster.stream_folder("SM_LOG");
    copy_folder(&folder, copy.path()).unwrap();
    cluster.nats.restart().unwrap();
    let mut first = None;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let lost = loop {
        if let Ok(state) = log.state().await {
            let begin = *first.get_or_insert(state.last_seq);
            if state.last_seq >= begin + 100 {
                break state.last_seq - begin;
            }
        }
        assert!(std::time::Instant::now() < deadline, "the log does not grow");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    cluster.nats.kill().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(copy.path(), &folder).unwrap();
    cluster.nats.restart().unwrap();
    println!("the log has lost its last {lost} messages or more");
    let worker = cluster.processes.iter().position(|p| p.role == Role::Worker).unwrap();
    cluster.kill(worker).unwrap();
    cluster.revive(worker).unwrap();
}
