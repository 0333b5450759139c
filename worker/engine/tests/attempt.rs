//! The life of an attempt as data: each story is a delivery, what happens to it, and the commands that must come out.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy sees helpers outside test functions as production code"
)]

use serde_json::json;
use stepmill_protocol::limit::DELIVERIES_MAX;
use stepmill_protocol::link::Undecodable;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::retry::Backoff;
use stepmill_protocol::{
    AttemptNo, CommandId, MayRun, Millis, Namespace, PartitionNo, Pass, Payload, PoolName, Priority, Problem, Report,
    ReportOutcome, RetryPolicy, RunId, StepKind, StepPath, Task, TaskToken, Timestamp, ValueId, Visit, WorkflowName,
};
use stepmill_worker_engine::{Arrival, Attempt, Command, Event, Fault, Finish, limit};

fn task() -> Task {
    Task {
        id: CommandId { run: RunId(uuid::Uuid::from_u128(1)), visit: Visit(1), pass: Pass(0), dispatch: 1 },
        namespace: Namespace::new("default").unwrap(),
        workflow: WorkflowName::new("orders").unwrap(),
        partition: PartitionNo(3),
        path: StepPath("/do/0/charge".into()),
        attempt: AttemptNo(1),
        token: TaskToken([1; 16]),
        kind: StepKind::new("charge").unwrap(),
        pool: PoolName::new("default").unwrap(),
        priority: Priority::Normal,
        input: Payload::Inline(json!({})),
        deadline: None,
        retry: None,
        secrets: None,
    }
}

fn policy(attempts_max: u32) -> RetryPolicy {
    RetryPolicy {
        delay: Millis(200),
        backoff: Backoff::Constant,
        delay_max: Millis(60_000),
        jitter: None,
        attempts_max,
        duration_max: None,
    }
}

fn finished(result: Result<serde_json::Value, Fault>) -> Event {
    Event::Finished(Finish { result, took: Millis(5), usage: None, now: Timestamp(10_000), backoff: Millis(200) })
}

fn ok() -> Event {
    finished(Ok(json!(7)))
}

fn fails(retryable: bool, retry_after: Option<u64>) -> Event {
    let problem = Problem::standard(Standard::Runtime, "no luck");
    finished(Err(Fault { problem, retryable, retry_after: retry_after.map(Millis) }))
}

fn not_stored(retryable: bool) -> Event {
    Event::NotStored { reason: "log is away".into(), retryable }
}

fn word(command: &Command, report: Option<&Report>) -> String {
    match command {
        Command::Ask => "ask".into(),
        Command::FetchValue(id) => format!("fetch {id}"),
        Command::Run { attempt } => format!("run {attempt}"),
        Command::Bury { problem, failed } => format!("bury {} again={failed}", short(problem)),
        Command::Report { failed } => format!("report {} again={failed}", report.map(outcome).unwrap_or_default()),
        Command::Ack => "ack".into(),
        Command::Nak { delay } => format!("nak {}", delay.0),
        Command::End(ending) => format!("end {ending:?}"),
    }
}

fn short(problem: &Problem) -> String {
    problem.kind.rsplit('/').next().unwrap().to_owned()
}

fn outcome(report: &Report) -> String {
    match &report.outcome {
        ReportOutcome::Succeeded { output } => format!("#{} ok {output}", report.attempt),
        ReportOutcome::Failed { problem, retryable, redeliver_after, .. } => format!(
            "#{} {}{}{}",
            report.attempt,
            short(problem),
            if *retryable { " retryable" } else { "" },
            redeliver_after.map(|d| format!(" redeliver={}", d.0)).unwrap_or_default()
        ),
    }
}

/// Feeds the events and gives the commands as text, one word group per event; `-` for an ignored event.
fn play(task: &Task, deliveries: u64, again: bool, events: Vec<Event>) -> Vec<String> {
    let served = [StepKind::new("charge").unwrap(), StepKind::new("mail").unwrap()];
    let arrival = Arrival { task: Ok(task), deliveries, again, served: &served, worker: "w1" };
    let (attempt, first) = Attempt::begin(&arrival);
    feed(attempt, &first, events)
}

fn feed(mut attempt: Attempt, first: &Command, events: Vec<Event>) -> Vec<String> {
    let mut said = vec![word(first, attempt.report())];
    for event in events {
        let (next, command) = attempt.on(event);
        said.push(command.map_or("-".into(), |c| word(&c, next.report())));
        attempt = next;
    }
    said
}

#[test]
fn a_success_is_acked_after_it_is_stored() {
    let said = play(&task(), 1, false, vec![ok(), Event::Stored, Event::Settled]);
    assert_eq!(said, ["run 1", "report #1 ok 7 again=0", "ack", "end Succeeded"]);
}

#[test]
fn a_result_is_kept_while_the_log_is_away() {
    let said = play(&task(), 1, false, vec![ok(), not_stored(true), not_stored(true), Event::Stored, Event::Settled]);
    assert_eq!(
        said,
        ["run 1", "report #1 ok 7 again=0", "report #1 ok 7 again=1", "report #1 ok 7 again=2", "ack", "end Succeeded"]
    );
}

#[test]
fn a_report_that_is_refused_for_good_becomes_a_failure() {
    let mut events = vec![ok()];
    events.extend((0..limit::REFUSALS_MAX).map(|_| not_stored(false)));
    events.extend([Event::Stored, Event::Settled]);
    let said = play(&task(), 1, false, events);
    assert_eq!(said[limit::REFUSALS_MAX as usize], "report #1 ok 7 again=9");
    assert_eq!(said[limit::REFUSALS_MAX as usize + 1], "report #1 runtime again=10");
    assert_eq!(said[said.len() - 2..], ["ack", "end Failed"]);
}

#[test]
fn failures_are_redelivered_only_where_the_policy_and_time_allow() {
    let redelivered = ["run 1", "report #1 runtime retryable redeliver=200 again=0", "nak 200", "end Failed"];
    let left_to_engine = ["run 1", "report #1 runtime retryable again=0", "ack", "end Failed"];
    let terminal = ["run 1", "report #1 runtime again=0", "ack", "end Failed"];
    let with =
        |retry: Option<RetryPolicy>, deadline: Option<u64>| Task { retry, deadline: deadline.map(Timestamp), ..task() };
    let bounded = RetryPolicy { duration_max: Some(Millis(60_000)), ..policy(5) };
    let later = limit::REDELIVERY_DELAY_MAX.0 + 1;
    let longer = ["run 1", "report #1 runtime retryable redeliver=900 again=0", "nak 900", "end Failed"];
    for (name, task, event, expected) in [
        ("policy", with(Some(policy(5)), None), fails(true, None), redelivered),
        ("retry-after is longer", with(Some(policy(5)), None), fails(true, Some(900)), longer),
        ("retry-after is shorter", with(Some(policy(5)), None), fails(true, Some(100)), redelivered),
        ("no policy", with(None, None), fails(true, None), left_to_engine),
        ("last attempt", with(Some(policy(1)), None), fails(true, None), left_to_engine),
        ("total duration", with(Some(bounded), None), fails(true, None), left_to_engine),
        ("deadline before the next", with(Some(policy(5)), Some(10_200)), fails(true, None), left_to_engine),
        ("deadline after the next", with(Some(policy(5)), Some(10_201)), fails(true, None), redelivered),
        ("too long for the broker", with(Some(policy(5)), None), fails(true, Some(later)), left_to_engine),
        ("terminal", with(Some(policy(5)), None), fails(false, None), terminal),
    ] {
        let said = play(&task, 1, false, vec![event, Event::Stored, Event::Settled]);
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn many_redeliveries_are_handed_to_the_engine_before_the_poison_limit() {
    let task = Task { retry: Some(policy(500)), ..task() };
    let run = Event::Answered(MayRun::Run { attempt: AttemptNo(11) });
    let said = play(&task, limit::REDELIVERIES_MAX, false, vec![run, fails(true, None), Event::Stored]);
    assert_eq!(said, ["ask", "run 11", "report #11 runtime retryable again=0", "ack"]);
}

#[test]
fn a_task_that_came_again_runs_only_with_the_owners_word() {
    let answered = |answer| vec![Event::Answered(answer), Event::Settled];
    let refused = Event::Refused(Problem::own("gone", 404, "Gone", "no such run"));
    for (name, deliveries, again, events, expected) in [
        ("run", 2, false, answered(MayRun::Run { attempt: AttemptNo(2) }), ["ask", "run 2", "-"]),
        ("wait", 2, false, answered(MayRun::Wait { delay: Millis(40) }), ["ask", "nak 40", "end GivenBack"]),
        ("done", 2, false, answered(MayRun::Done), ["ask", "ack", "end Skipped"]),
        ("stale", 1, true, answered(MayRun::Stale), ["ask", "ack", "end Skipped"]),
        ("nobody answers", 2, false, vec![Event::Unanswered, Event::Settled], ["ask", "nak 1000", "end GivenBack"]),
        (
            "nobody answers for long",
            19,
            false,
            vec![Event::Unanswered, Event::Settled],
            ["ask", "nak 30000", "end GivenBack"],
        ),
        ("refused", 2, false, vec![refused, Event::Settled], ["ask", "nak 1000", "end GivenBack"]),
    ] {
        assert_eq!(play(&task(), deliveries, again, events), expected, "{name}");
    }
}

#[test]
fn poison_is_buried_then_reported_then_acked_and_only_with_the_owners_word() {
    let run = Event::Answered(MayRun::Run { attempt: AttemptNo(4) });
    let poison = DELIVERIES_MAX + 1;
    let said = play(&task(), poison, false, vec![run, not_stored(true), Event::Stored, Event::Stored, Event::Settled]);
    assert_eq!(
        said,
        [
            "ask",
            "bury poison-task again=0",
            "bury poison-task again=1",
            "report #4 poison-task again=0",
            "ack",
            "end Buried"
        ]
    );
    assert_eq!(play(&task(), poison, false, vec![Event::Unanswered]), ["ask", "nak 30000"]);
    let refused = Event::Refused(Problem::own("gone", 404, "Gone", "no such run"));
    assert_eq!(play(&task(), poison, false, vec![refused]), ["ask", "bury poison-task again=0"]);
}

#[test]
fn what_is_no_task_is_buried_and_acked() {
    let bad = Undecodable { reason: "bad marker".into(), bytes: vec![0xc1] };
    let arrival = Arrival { task: Err(&bad), deliveries: 1, again: false, served: &[], worker: "w1" };
    let (attempt, first) = Attempt::begin(&arrival);
    let said = feed(attempt, &first, vec![Event::Stored, Event::Settled]);
    assert_eq!(said, ["bury undecodable-task again=0", "ack", "end Buried"]);
}

#[test]
fn an_unserved_kind_is_offered_to_others_before_the_step_fails() {
    let task = Task { kind: StepKind::new("fly").unwrap(), ..task() };
    assert_eq!(play(&task, 1, false, vec![Event::Settled]), ["nak 1000", "end GivenBack"]);
    let run = || Event::Answered(MayRun::Run { attempt: AttemptNo(1) });
    assert_eq!(play(&task, 2, false, vec![run()]), ["ask", "nak 1000"]);
    let said = play(&task, 3, false, vec![run(), Event::Stored, Event::Settled]);
    assert_eq!(said, ["ask", "report #1 configuration again=0", "ack", "end Failed"]);
    let served = [StepKind::new("charge").unwrap(), StepKind::new("mail").unwrap()];
    let arrival = Arrival { task: Ok(&task), deliveries: 3, again: false, served: &served, worker: "w1" };
    let (attempt, _) = Attempt::begin(&arrival);
    let (attempt, _) = attempt.on(run());
    let text = format!("{:?}", attempt.report());
    assert!(text.contains("kind `fly` in pool `default`") && text.contains("charge, mail"), "{text}");
}

#[test]
fn a_referred_input_is_fetched_before_the_handler_starts() {
    let task = Task { input: Payload::Ref { id: ValueId(9), bytes: 5_000 }, ..task() };
    assert_eq!(play(&task, 1, false, vec![Event::ValueArrived]), ["fetch 9", "run 1"]);
    assert_eq!(play(&task, 1, false, vec![Event::Unanswered]), ["fetch 9", "nak 500"]);
}

#[test]
fn a_drained_attempt_goes_back_at_once_wherever_it_is() {
    let referred = Task { input: Payload::Ref { id: ValueId(9), bytes: 5_000 }, ..task() };
    assert_eq!(play(&task(), 2, false, vec![Event::Drained]), ["ask", "nak 0"]);
    assert_eq!(play(&referred, 1, false, vec![Event::Drained]), ["fetch 9", "nak 0"]);
    assert_eq!(play(&task(), 1, false, vec![Event::Drained]), ["run 1", "nak 0"]);
    assert_eq!(play(&task(), 1, false, vec![ok(), Event::Drained]), ["run 1", "report #1 ok 7 again=0", "nak 0"]);
    // Once the report is stored there is nothing to give back.
    assert_eq!(play(&task(), 1, false, vec![ok(), Event::Stored, Event::Drained])[2..], ["ack", "-"]);
}

#[test]
fn a_lost_ack_is_repeated_a_few_times_and_then_left_to_the_next_delivery() {
    let lost = || Event::NotSettled;
    let said = play(&task(), 1, false, vec![ok(), Event::Stored, lost(), lost(), lost(), lost()]);
    assert_eq!(said[2..], ["ack", "ack", "ack", "end Succeeded", "-"]);
}

/// No order of events, sensible or not, acks a task whose report was not stored, unless the owner said it need not be.
#[test]
fn no_sequence_of_events_acks_before_the_report_is_stored() {
    let all = || {
        vec![
            Event::Answered(MayRun::Run { attempt: AttemptNo(2) }),
            Event::Refused(Problem::own("gone", 404, "Gone", "no such run")),
            Event::Unanswered,
            Event::ValueArrived,
            ok(),
            fails(true, None),
            Event::Stored,
            not_stored(true),
            Event::Settled,
            Event::NotSettled,
            Event::Drained,
        ]
    };
    let served = [StepKind::new("charge").unwrap()];
    let task = Task { retry: Some(policy(5)), ..task() };
    for deliveries in [1, 2, DELIVERIES_MAX + 1] {
        let arrival = Arrival { task: Ok(&task), deliveries, again: false, served: &served, worker: "w1" };
        let (attempt, first) = Attempt::begin(&arrival);
        let mut frontier = vec![(attempt, first, false)];
        for _ in 0..6 {
            let mut next = Vec::new();
            for (attempt, last, stored) in frontier {
                for event in all() {
                    let now_stored =
                        stored || (matches!(last, Command::Report { .. }) && matches!(event, Event::Stored));
                    let (after, command) = attempt.clone().on(event);
                    let command = command.unwrap_or_else(|| last.clone());
                    assert!(!matches!(command, Command::Ack) || now_stored, "{after:?}");
                    let known = next.iter().any(|(a, c, s)| *a == after && *c == command && *s == now_stored);
                    if !known && !matches!(command, Command::End(_)) {
                        next.push((after, command, now_stored));
                    }
                }
            }
            frontier = next;
        }
    }
}
