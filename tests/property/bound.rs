//! A run stores what it still needs and nothing of what is behind it, however long it goes on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepmill_definition::plan::Plan;
use stepmill_engine::{Command, Run, advance};
use stepmill_protocol::api::{Folded, RunState};
use stepmill_protocol::{
    CommandId, Event, Millis, PartitionNo, Report, ReportOutcome, RunId, Submitted, Timestamp, ValueId,
};

const RUN: RunId = RunId(uuid::Uuid::from_u128(0xb0));
const ITERATIONS: u64 = 100_000;
const BYTES_MAX: usize = 4096;
/// Every so many events the run is written and read back.
const RESTART_EVERY: u64 = 20_000;

fn plan(tasks: &str) -> Plan {
    let header = "document: {dsl: '1.0.3', namespace: default, name: bound, version: '1.0.0'}\n";
    stepmill_definition::compile(&format!("{header}{tasks}")).unwrap().plan
}

fn submitted(plan: &Plan, input: Value) -> Event {
    Event::Submitted(Submitted {
        namespace: plan.namespace.clone(),
        workflow: plan.name.clone(),
        digest: plan.digest.clone(),
        input,
        secret: vec![1; 32],
        key: None,
        parent: None,
        engine: stepmill_engine::ENGINE_VERSION,
        cancelled: None,
    })
}

fn success(plan: &Plan, run: &Run, id: CommandId, output: impl Fn(&Value) -> Value) -> Event {
    let task = run.task(plan, id, PartitionNo(0)).unwrap();
    let input = match task.input {
        stepmill_protocol::Payload::Inline(value) => value,
        stepmill_protocol::Payload::Ref { .. } => Value::Null,
    };
    Event::Report(Box::new(Report {
        id,
        path: task.path,
        token: task.token,
        attempt: task.attempt,
        outcome: ReportOutcome::Succeeded { output: output(&input) },
        worker: "test".into(),
        took: Millis(1),
        usage: None,
    }))
}

/// Lets a run of one token go to its end; gives its output and the most that it stored at any point.
fn run_to_the_end(plan: &Plan, input: Value, output: impl Fn(&Value) -> Value) -> (Value, usize) {
    let mut event = submitted(plan, input);
    let (mut run, mut store, mut most) = (None, BTreeMap::<ValueId, Value>::new(), 0);
    for number in 1_u64.. {
        let outcome = advance(plan, RUN, run.take(), Timestamp(number), &event);
        assert_eq!(outcome.answer, Folded::Applied);
        let mut now = outcome.run.unwrap();
        let changes = now.take_value_changes();
        store.extend(changes.put.into_iter().map(|(id, value)| (id, value.as_ref().clone())));
        changes.drop.iter().for_each(|id| drop(store.remove(id)));
        let control = now.encode().unwrap();
        most = most.max(control.len() + store.values().map(|v| v.to_string().len()).sum::<usize>());
        if now.state() != RunState::Running {
            let view = now.view(plan);
            return (view.output.unwrap_or_else(|| panic!("{:?}", view.error)), most);
        }
        event = match outcome.commands.iter().rev().find(|c| !matches!(c, Command::Withdraw { .. })).unwrap() {
            Command::Dispatch { id, .. } => success(plan, &now, *id, &output),
            Command::Yield { number } => Event::Resume { number: *number },
            other @ (Command::Withdraw { .. } | Command::Arm { .. } | Command::Disarm { .. }) => panic!("{other:?}"),
        };
        run = Some(if number % RESTART_EVERY == 0 { Run::decode(&control, store.clone()).unwrap() } else { now });
    }
    unreachable!("the loop above returns")
}

#[test]
fn a_pure_loop_of_100_000_iterations_stores_less_than_4_kib() {
    let plan = plan(
        "do: [{loop: {for: {in: \"${ [range(100000)] }\"}, do: [{add: {set: {sum: \"${ .sum + $item }\", pad: \"${ .pad }\"}}}]}}]",
    );
    let (output, most) = run_to_the_end(&plan, json!({ "sum": 0, "pad": "x".repeat(600) }), |_| Value::Null);
    assert_eq!(output["sum"], json!(ITERATIONS * (ITERATIONS - 1) / 2));
    assert!(most < BYTES_MAX, "{most} bytes were stored at one point");
}

#[test]
fn a_loop_of_100_000_steps_stores_less_than_4_kib() {
    let plan = plan(
        "do: [{loop: {for: {in: \"${ [range(100000)] }\"}, do: [{work: {call: work, with: {n: \"${ .n }\", item: \"${ $item }\"}}}]}}]",
    );
    let (output, most) = run_to_the_end(&plan, json!({ "n": 0 }), |input| {
        assert_eq!(input["n"], input["item"]);
        json!({ "n": input["n"].as_u64().unwrap() + 1 })
    });
    assert_eq!(output, json!({ "n": ITERATIONS }));
    assert!(most < BYTES_MAX, "{most} bytes were stored at one point");
}

#[test]
fn a_backward_jump_taken_100_000_times_stores_less_than_4_kib() {
    let plan =
        plan("do: [{work: {call: work}}, {again: {switch: [{more: {when: \"${ .n < 100000 }\", then: work}}]}}]");
    let next = |input: &Value| json!({ "n": input["n"].as_u64().unwrap() + 1 });
    let (output, most) = run_to_the_end(&plan, json!({ "n": 0 }), next);
    assert_eq!(output, json!({ "n": ITERATIONS }));
    assert!(most < BYTES_MAX, "{most} bytes were stored at one point");
}

#[test]
fn a_fan_out_of_1_000_steps_gathers_all_and_costs_each_step_about_the_same() {
    let plan = plan(
        "do: [{all: {for: {in: \"${ [range(1000)] }\"}, metadata: {concurrency: 1000}, do: [{work: {call: work, with: {item: \"${ $item }\"}}}]}}]",
    );
    let mut open = Vec::new();
    let mut run = None;
    let mut event = submitted(&plan, Value::Null);
    for number in 1.. {
        let outcome = advance(&plan, RUN, run.take(), Timestamp(number), &event);
        assert_eq!(outcome.answer, Folded::Applied);
        let now = outcome.run.unwrap();
        let mut resume = None;
        for command in outcome.commands {
            match command {
                Command::Dispatch { id, .. } => open.push(id),
                Command::Yield { number } => resume = Some(Event::Resume { number }),
                Command::Withdraw { .. } | Command::Arm { .. } | Command::Disarm { .. } => {}
            }
        }
        assert_eq!(now.unneeded_values(), []);
        if now.state() == RunState::Completed {
            assert_eq!(now.view(&plan).output, Some((0..1000).map(|n| json!([n])).collect()));
            return;
        }
        event = match (resume, open.pop()) {
            (Some(resume), id) => {
                open.extend(id);
                resume
            }
            (None, Some(id)) => success(&plan, &now, id, |input| json!([input["item"]])),
            (None, None) => panic!("the run waits for nothing"),
        };
        run = Some(now);
    }
}

/// The failure of an attempt that is not tried again.
fn failure(plan: &Plan, run: &Run, id: CommandId) -> Event {
    let mut event = success(plan, run, id, Value::clone);
    if let Event::Report(report) = &mut event {
        let problem = stepmill_protocol::Problem::own("no", 500, "No", "");
        report.outcome = ReportOutcome::Failed { problem, retryable: false, retry_after: None, redeliver_after: None };
    }
    event
}

/// Bytes of the control state at its largest, while the first four tenths and the last tenth of the items were worked on, and the output.
/// Blocks of outputs come together every 4,096 items, so the first part sees them at their most. Every fourth item fails, where that ends
/// nothing.
fn control_bytes_of_a_fan_out(items: usize, rule: &str) -> (usize, usize, Value) {
    let fails = rule.contains("join") || rule.contains("onFailure");
    let plan = plan(&format!(
        "do: [{{all: {{for: {{in: \"${{ [range({items})] }}\"}}, metadata: {{concurrency: 100{rule}}}, do: [{{work: {{call: work, with: {{item: \"${{ $item }}\"}}}}}}]}}}}]",
    ));
    let mut open = std::collections::VecDeque::new();
    let mut run = None;
    let mut event = submitted(&plan, Value::Null);
    let (mut done, mut early, mut late) = (0, 0, 0);
    for number in 1.. {
        let outcome = advance(&plan, RUN, run.take(), Timestamp(number), &event);
        assert_eq!(outcome.answer, Folded::Applied);
        let mut now = outcome.run.unwrap();
        now.take_value_changes();
        let mut resume = None;
        for command in outcome.commands {
            match command {
                Command::Dispatch { id, .. } => open.push_back(id),
                Command::Yield { number } => resume = Some(Event::Resume { number }),
                Command::Withdraw { .. } | Command::Arm { .. } | Command::Disarm { .. } => {}
            }
        }
        if now.state() == RunState::Completed {
            return (early, late, now.view(&plan).output.unwrap());
        }
        if done <= items / 10 * 4 {
            early = early.max(now.encode().unwrap().len());
        } else if done + items / 10 >= items {
            late = late.max(now.encode().unwrap().len());
        }
        event = resume.unwrap_or_else(|| {
            // The oldest or the newest, so that they do not end in order.
            let id = if done % 3 == 0 { open.pop_back() } else { open.pop_front() };
            done += 1;
            let id = id.unwrap();
            let event = success(&plan, &now, id, |input| json!([input["item"]]));
            let fourth = matches!(&event, Event::Report(r) if matches!(&r.outcome, ReportOutcome::Succeeded { output } if output[0].as_u64().unwrap() % 4 == 1));
            if fails && fourth { failure(&plan, &now, id) } else { event }
        });
        run = Some(now);
    }
    unreachable!("the loop above returns")
}

#[test]
fn a_loop_over_10_000_items_a_hundred_at_a_time_stores_no_more_at_its_end_than_at_its_beginning() {
    let (early, late, output) = control_bytes_of_a_fan_out(10_000, "");
    assert_eq!(output, (0..10_000).map(|n| json!([n])).collect::<Value>());
    assert!(late < early + early / 10, "{early} bytes of control state at the beginning, {late} at the end");
}

#[test]
fn branches_that_fail_leave_nothing_behind_where_enough_others_succeed() {
    let (early, late, output) = control_bytes_of_a_fan_out(12_000, ", join: {count: 9000}");
    assert_eq!(output, (0..12_000).filter(|n| n % 4 != 1).map(|n| json!([n])).collect::<Value>());
    assert!(late < early + early / 10, "{early} bytes of control state at the beginning, {late} at the end");
}

#[test]
fn errors_that_are_kept_are_packed_like_outputs() {
    let (early, late, output) = control_bytes_of_a_fan_out(12_000, ", onFailure: continue");
    let errors = output["errors"].as_array().unwrap();
    assert!(errors.iter().map(|e| e["index"].as_u64().unwrap()).eq((0..12_000).filter(|n| n % 4 == 1)));
    let given = |n: u64| if n % 4 == 1 { Value::Null } else { json!([n]) };
    assert_eq!(output["outputs"], (0..12_000).map(given).collect::<Value>());
    assert!(late < early + early / 10, "{early} bytes of control state at the beginning, {late} at the end");
}
