//! The worker over the broker in memory: order of report and ack, slots, drain, heartbeats, panics, secrets.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use stepmill_protocol::link::{LinkError, Undecodable};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::retry::Backoff;
use stepmill_protocol::{
    AskAnswer, AskRequest, AttemptNo, MayRun, Millis, Payload, Problem, ReportOutcome, RetryPolicy, SecretScope, Task,
    Usage, ValueId,
};
use stepmill_worker::testing::{Act, Call, MemoryLink, task};
use stepmill_worker::{Context, Failure, Secrets, Worker, WorkerBuilder, WorkerError};
use tokio::sync::{Notify, Semaphore};

fn worker(link: &MemoryLink) -> WorkerBuilder {
    Worker::builder(Arc::new(link.clone())).slots(4).name("w1").fetch_wait(Duration::from_millis(20))
}

async fn echo(_: Context, input: Value) -> Result<Value, Failure> {
    Ok(input)
}

fn down(retryable: bool) -> LinkError {
    LinkError { message: "the log is away".into(), retryable, may_have_happened: true }
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        delay: Millis(250),
        backoff: Backoff::Constant,
        delay_max: Millis(10_000),
        jitter: None,
        attempts_max: 5,
        duration_max: None,
    }
}

/// What the worker did with one delivery, without joins and fetches.
async fn acts_of(link: &MemoryLink, builder: WorkerBuilder) -> Vec<Act> {
    builder.run(link.until_settled(1)).await.unwrap();
    let acts = link.acts().into_iter();
    acts.filter(|act| !matches!(act, Act::Join(_) | Act::Fetch { .. } | Act::Progress(_))).collect()
}

fn problem_of(act: &Act) -> (&Problem, bool) {
    let Act::Report(report) = act else { panic!("no report: {act:?}") };
    match &report.outcome {
        ReportOutcome::Failed { problem, retryable, .. } => (problem, *retryable),
        ReportOutcome::Succeeded { output } => panic!("it succeeded with {output}"),
    }
}

#[tokio::test]
async fn a_success_is_reported_then_acked() {
    let link = MemoryLink::default();
    let ack = link.push("echo", json!({"a": 1}));
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let [Act::Report(report), Act::Ack(acked)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(report.outcome, ReportOutcome::Succeeded { output: json!({"a": 1}) });
    assert_eq!((report.worker.as_str(), report.attempt, acked), ("w1", AttemptNo(1), &ack));
}

#[tokio::test(start_paused = true)]
async fn a_result_outlives_a_log_that_is_away() {
    let link = MemoryLink::default();
    link.push("count", Value::Null);
    link.fail(Call::Report, [down(true), down(true), down(true)]);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let step = move |_: Context, (): ()| {
        let counted = Arc::clone(&counted);
        async move { Ok::<_, Failure>(counted.fetch_add(1, SeqCst)) }
    };
    let acts = acts_of(&link, worker(&link).step("count", step)).await;
    assert!(
        matches!(&acts[..], [Act::Refused(_), Act::Refused(_), Act::Refused(_), Act::Report(_), Act::Ack(_)]),
        "{acts:?}"
    );
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn a_retryable_failure_under_a_policy_is_given_back_with_its_delay() {
    async fn fail(ctx: Context, (): ()) -> Result<(), Failure> {
        ctx.add_usage(Usage { model_calls: 1, tokens_in: 9, ..Usage::default() });
        Err(Failure::retryable("busy").retry_after(Duration::from_millis(900)))
    }
    let link = MemoryLink::default();
    link.deliver(Task { retry: Some(policy()), ..task("fail") }, 1);
    let acts = acts_of(&link, worker(&link).step("fail", fail)).await;
    let [Act::Report(report), Act::Nak(_, delay)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(*delay, Duration::from_millis(900));
    assert_eq!(report.usage, Some(Usage { model_calls: 1, tokens_in: 9, ..Usage::default() }));
    let ReportOutcome::Failed { problem, retryable: true, redeliver_after, .. } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(*redeliver_after, Some(Millis(900)));
    assert_eq!(problem.instance.as_deref(), Some("/do/0/fail"));
}

#[tokio::test]
async fn wrong_inputs_and_panics_end_the_step() {
    async fn strict(_: Context, _n: u8) -> Result<u8, Failure> {
        let list: Vec<u8> = Vec::new();
        Ok(list[3])
    }
    for (input, kind, text) in [
        (json!("seven"), Standard::Validation, "the input does not fit step `strict`"),
        (json!(7), Standard::Runtime, "panicked: index out of bounds"),
    ] {
        let link = MemoryLink::default();
        link.deliver(Task { input: Payload::Inline(input), retry: Some(policy()), ..task("strict") }, 1);
        let acts = acts_of(&link, worker(&link).step("strict", strict)).await;
        let (problem, retryable) = problem_of(&acts[0]);
        assert!(problem.is(kind) && !retryable && problem.to_string().contains(text), "{problem}");
        assert!(matches!(acts[1], Act::Ack(_)), "{acts:?}");
    }
}

#[tokio::test]
async fn a_result_that_is_too_large_names_the_limit() {
    async fn large(_: Context, (): ()) -> Result<String, Failure> {
        Ok("x".repeat(stepmill_protocol::limit::VALUE_BYTES_MAX + 1))
    }
    let link = MemoryLink::default();
    link.push("large", Value::Null);
    let acts = acts_of(&link, worker(&link).step("large", large)).await;
    let (problem, retryable) = problem_of(&acts[0]);
    assert!(problem.to_string().contains("VALUE_BYTES_MAX") && !retryable, "{problem}");
}

#[tokio::test]
async fn the_deadline_ends_the_step_and_quotes_the_last_progress() {
    async fn slow(ctx: Context, (): ()) -> Result<(), Failure> {
        ctx.progress("page 3 of 9");
        std::future::pending().await
    }
    for left in [0_u64, 30] {
        let link = MemoryLink::default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let deadline = stepmill_protocol::Timestamp(u64::try_from(now.as_millis()).unwrap() + left);
        link.deliver(Task { deadline: Some(deadline), retry: Some(policy()), ..task("slow") }, 1);
        let acts = acts_of(&link, worker(&link).step("slow", slow)).await;
        let (problem, retryable) = problem_of(&acts[0]);
        assert!(problem.is(Standard::Timeout) && !retryable, "{problem}");
        assert!(left == 0 || problem.to_string().contains("page 3 of 9"), "{problem}");
    }
}

#[tokio::test]
async fn a_redelivery_asks_first_and_reports_under_the_owners_number() {
    let link = MemoryLink::default();
    link.answer(Some(AskAnswer::MayRun(MayRun::Run { attempt: AttemptNo(3) })));
    link.deliver(task("echo"), 2);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let [Act::Ask(AskRequest::MayRun { .. }), Act::Report(report), Act::Ack(_)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(report.attempt, AttemptNo(3));

    let link = MemoryLink::default();
    link.answer(Some(AskAnswer::MayRun(MayRun::Done)));
    link.deliver_raw(Ok(task("echo")), 1, true);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    assert!(matches!(&acts[..], [Act::Ask(_), Act::Ack(_)]), "{acts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_owner_costs_a_second_and_a_delay() {
    let link = MemoryLink::default();
    link.answer(None);
    link.deliver(task("echo"), 2);
    let began = tokio::time::Instant::now();
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    assert!(matches!(&acts[..], [Act::Ask(_), Act::Nak(_, delay)] if *delay == Duration::from_secs(1)), "{acts:?}");
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_referred_input_is_fetched_from_the_owner() {
    let link = MemoryLink::default();
    link.answer(Some(AskAnswer::Value(json!("long text"))));
    link.deliver(Task { input: Payload::Ref { id: ValueId(4), bytes: 9_000 }, ..task("echo") }, 1);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let [Act::Ask(AskRequest::Value { value, .. }), Act::Report(report), Act::Ack(_)] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!(*value, ValueId(4));
    assert_eq!(report.outcome, ReportOutcome::Succeeded { output: json!("long text") });
}

#[tokio::test]
async fn what_cannot_be_read_is_buried_and_acked() {
    let link = MemoryLink::default();
    link.deliver_raw(Err(Undecodable { reason: "bad marker".into(), bytes: vec![0xc1, 0x02] }), 1, false);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let [Act::Bury(letter), Act::Ack(_)] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(letter.problem.extra, Some(json!({"message_hex": "c102"})));
    assert!(letter.problem.to_string().contains("bad marker"));
}

#[tokio::test]
async fn poison_is_buried_with_its_task_then_reported_then_acked() {
    let link = MemoryLink::default();
    link.deliver(task("echo"), stepmill_protocol::limit::DELIVERIES_MAX + 1);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let [Act::Ask(_), Act::Bury(letter), Act::Report(_), Act::Ack(_)] = &acts[..] else { panic!("{acts:?}") };
    assert!(letter.task.is_some() && letter.deliveries == stepmill_protocol::limit::DELIVERIES_MAX + 1);
    assert!(!problem_of(&acts[2]).1);
}

#[tokio::test]
async fn slots_are_never_exceeded_and_all_are_used() {
    let link = MemoryLink::default();
    for n in 0..40 {
        link.push("hold", json!(n));
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let step = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |_: Context, n: u64| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                for _ in 0..n % 5 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, SeqCst);
                Ok::<_, Failure>(n)
            }
        }
    };
    let worker = worker(&link).step("hold", step).build().unwrap();
    let counters = worker.counters();
    worker.run(link.until_settled(40)).await.unwrap();
    assert_eq!(most.load(SeqCst), 4);
    assert_eq!((counters.counts().succeeded, counters.counts().in_flight), (40, 0));
    for act in link.acts() {
        assert!(!matches!(act, Act::Fetch { max, given } if max > 4 || given > max), "{act:?}");
    }
    // Each delivery is acked after its own report.
    let mut stored = 0_usize;
    for act in link.acts() {
        match act {
            Act::Report(_) => stored += 1,
            Act::Ack(_) => stored = stored.checked_sub(1).unwrap(),
            Act::Join(_)
            | Act::Fetch { .. }
            | Act::Ask(_)
            | Act::Refused(_)
            | Act::Nak(..)
            | Act::Bury(_)
            | Act::Progress(_) => {}
        }
    }
}

#[tokio::test]
async fn a_drain_lets_the_running_finish_and_takes_nothing_new() {
    let link = MemoryLink::default();
    link.push("gate", json!("first"));
    link.push("gate", json!("second"));
    let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let step = {
        let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
        move |_: Context, name: String| {
            let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
            async move {
                started.notify_one();
                let _pass = gate.acquire().await?;
                Ok::<_, Failure>(name)
            }
        }
    };
    // The shutdown comes while the only slot is taken; the gate opens in the same moment.
    let shutdown = async move {
        started.notified().await;
        gate.add_permits(2);
    };
    worker(&link).slots(1).step("gate", step).run(shutdown).await.unwrap();
    assert_eq!(link.outputs(), [json!("first")]);
    assert!(matches!(link.acts().last(), Some(Act::Ack(_))), "{:?}", link.acts());
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_time_the_rest_goes_back_and_handlers_are_told() {
    let link = MemoryLink::default();
    link.push("stuck", Value::Null);
    let (started, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let step = {
        let (started, told) = (Arc::clone(&started), Arc::clone(&told));
        move |ctx: Context, (): ()| {
            let (started, told) = (Arc::clone(&started), Arc::clone(&told));
            async move {
                let token = ctx.cancellation().clone();
                tokio::spawn(async move {
                    token.cancelled().await;
                    told.notify_one();
                });
                started.notify_one();
                std::future::pending::<Result<(), Failure>>().await
            }
        }
    };
    let builder = worker(&link).grace(Duration::from_secs(3)).step("stuck", step);
    let began = tokio::time::Instant::now();
    builder.run(async move { started.notified().await }).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(3));
    told.notified().await;
    let acts = link.acts();
    assert!(matches!(acts.last(), Some(Act::Nak(_, Duration::ZERO))), "{acts:?}");
    assert_eq!(link.reports(), []);
}

#[tokio::test]
async fn heartbeats_go_on_while_a_handler_blocks_the_only_thread() {
    let link = MemoryLink::new(Duration::from_millis(30));
    let ack = link.push("block", Value::Null);
    let seen = link.clone();
    // The handler blocks this test's only runtime thread until signs of life have come from elsewhere.
    let step = move |_: Context, (): ()| {
        let seen = seen.clone();
        async move {
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            let signs = || seen.acts().iter().filter(|act| matches!(act, Act::Progress(_))).count();
            while signs() < 3 && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            Ok::<_, Failure>(signs())
        }
    };
    worker(&link).step("block", step).run(link.until_settled(1)).await.unwrap();
    assert!(link.outputs()[0].as_u64().unwrap() >= 3, "{:?}", link.outputs());
    assert!(link.acts().iter().all(|act| !matches!(act, Act::Progress(acks) if *acks != [ack.clone()])));
}

#[tokio::test]
async fn secrets_reach_the_handler_and_not_the_log() {
    async fn login(_: Context, password: String) -> Result<(), Failure> {
        assert_eq!(password, "hunter2");
        Err(Failure::terminal(format!("login with {password} refused")))
    }
    let scope = SecretScope { mark: "\u{2063}x1:".into(), names: vec!["db-password".into(), "gone".into()] };
    let secrets = Secrets::of(BTreeMap::from([("STEPMILL_SECRET_DB_PASSWORD".to_owned(), "hunter2".to_owned())]));
    for (name, expected) in
        [("db-password", "login with [secret db-password] refused"), ("gone", "set STEPMILL_SECRET_GONE")]
    {
        let link = MemoryLink::default();
        let input = Payload::Inline(json!(scope.reference(name)));
        link.deliver(Task { input, secrets: Some(scope.clone()), ..task("login") }, 1);
        let acts = acts_of(&link, worker(&link).secrets(secrets.clone()).step("login", login)).await;
        let (problem, retryable) = problem_of(&acts[0]);
        assert!(problem.to_string().contains(expected) && !retryable, "{problem}");
        assert!(!format!("{acts:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_pool_without_the_kind_says_what_it_serves() {
    let link = MemoryLink::default();
    link.deliver(task("fly"), 3);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let (problem, retryable) = problem_of(&acts[1]);
    assert!(problem.is(Standard::Configuration) && !retryable);
    assert!(problem.to_string().contains("no worker registered for kind `fly`"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_and_goes_is_waited_for() {
    let link = MemoryLink::default();
    for call in [Call::Join, Call::Fetch, Call::Heartbeat, Call::Bury, Call::Settle] {
        link.fail(call, [down(true), down(true)]);
    }
    link.deliver_raw(Err(Undecodable { reason: "bad marker".into(), bytes: vec![0xc1] }), 1, false);
    let acts = acts_of(&link, worker(&link).step("echo", echo)).await;
    let refused = |call| acts.iter().filter(|act| matches!(act, Act::Refused(c) if *c == call)).count();
    assert_eq!([Call::Join, Call::Fetch, Call::Bury, Call::Settle].map(refused), [2, 2, 2, 2], "{acts:?}");
    assert!(matches!(acts.last(), Some(Act::Ack(_))), "{acts:?}");

    let link = MemoryLink::default();
    link.fail(Call::Join, [down(false)]);
    let error = worker(&link).step("echo", echo).run(std::future::pending()).await.unwrap_err();
    assert!(matches!(&error, WorkerError::Join { .. }) && error.to_string().contains("the log is away"), "{error}");
}

#[tokio::test]
async fn dropping_a_worker_gives_its_tasks_back_at_once() {
    let link = MemoryLink::default();
    let ack = link.push("stuck", Value::Null);
    let started = Arc::new(Notify::new());
    let step = {
        let started = Arc::clone(&started);
        move |_: Context, (): ()| {
            let started = Arc::clone(&started);
            async move {
                started.notify_one();
                std::future::pending::<Result<(), Failure>>().await
            }
        }
    };
    tokio::select! {
        result = worker(&link).step("stuck", step).run(std::future::pending()) => panic!("{result:?}"),
        () = started.notified() => {}
    }
    link.until_settled(1).await;
    assert!(matches!(link.acts().last(), Some(Act::Nak(back, Duration::ZERO)) if *back == ack), "{:?}", link.acts());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_without_waiting_for_its_fetch() {
    let link = MemoryLink::default();
    let began = tokio::time::Instant::now();
    let builder = worker(&link).fetch_wait(Duration::from_secs(60)).step("echo", echo);
    builder.run(link.until(|acts| !acts.is_empty())).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn mistakes_are_found_when_the_worker_is_built() {
    let link = MemoryLink::default();
    let build = |builder: WorkerBuilder| builder.build().unwrap_err();
    assert!(matches!(build(worker(&link)), WorkerError::NoSteps));
    assert!(matches!(build(worker(&link).step("a", echo).step("a", echo)), WorkerError::Duplicate(_)));
    assert!(matches!(build(worker(&link).step("a b", echo)), WorkerError::Name(_)));
    assert!(matches!(build(worker(&link).pool("x.y").step("a", echo)), WorkerError::Name(_)));
    assert!(matches!(build(worker(&link).slots(0).step("a", echo)), WorkerError::Slots { given: 0 }));
}
