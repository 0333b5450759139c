//! Whatever is too large or damaged gives a clear error, never a panic and never a run that hangs.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use stepmill_definition::plan::Plan;
use stepmill_engine::{Command, Outcome, Run, advance};
use stepmill_protocol::api::{Folded, RunState};
use stepmill_protocol::{
    CommandId, Event, Millis, PartitionNo, Problem, Report, ReportOutcome, RunId, StepPath, Submitted, TaskToken,
    TimerId, Timestamp, ValueId, limit,
};

const RUN: RunId = RunId(uuid::Uuid::from_u128(0x11));

fn plan(tasks: &str) -> Plan {
    let header = "document: {dsl: '1.0.3', namespace: default, name: limits, version: '1.0.0'}\n";
    stepmill_definition::compile(&format!("{header}{tasks}")).unwrap().plan
}

fn submit(plan: &Plan, input: Value) -> Outcome {
    let event = Event::Submitted(Submitted {
        namespace: plan.namespace.clone(),
        workflow: plan.name.clone(),
        digest: plan.digest.clone(),
        input,
        secret: vec![1; 32],
        key: None,
        parent: None,
        engine: stepmill_engine::ENGINE_VERSION,
        cancelled: None,
    });
    turns(plan, advance(plan, RUN, None, Timestamp(1), &event))
}

/// Gives a run all the turns that it asks for.
fn turns(plan: &Plan, mut outcome: Outcome) -> Outcome {
    while let Some(number) = outcome.run.as_ref().and_then(Run::pending_yield) {
        outcome = advance(plan, RUN, outcome.run, Timestamp(2), &Event::Resume { number });
    }
    outcome
}

fn report(plan: &Plan, run: Run, id: CommandId, outcome: ReportOutcome) -> Outcome {
    let task = run.task(plan, id, PartitionNo(0)).unwrap();
    let report = Report {
        id,
        path: task.path,
        token: task.token,
        attempt: task.attempt,
        outcome,
        worker: "test".into(),
        took: Millis(1),
        usage: None,
    };
    turns(plan, advance(plan, RUN, Some(run), Timestamp(3), &Event::Report(Box::new(report))))
}

fn dispatches(outcome: &Outcome) -> Vec<CommandId> {
    let run = outcome.run.as_ref().unwrap();
    run.open_dispatches().into_iter().map(|(id, _, _)| id).collect()
}

fn output(outcome: &Outcome, plan: &Plan) -> Value {
    let view = outcome.run.as_ref().unwrap().view(plan);
    view.output.unwrap_or_else(|| panic!("{:?}: {:?}", view.state, view.error))
}

const CAUGHT: &str = "catch: {do: [{say: {set: {status: \"${ $error.status }\", at: \"${ $error.instance }\"}}}]}";

#[test]
fn a_result_that_is_too_large_is_an_error_of_its_step() {
    let plan = plan(&format!("do: [{{guard: {{try: [{{work: {{call: work}}}}], {CAUGHT}}}}}]"));
    let begun = submit(&plan, Value::Null);
    let id = dispatches(&begun)[0];
    let large = json!("x".repeat(limit::VALUE_BYTES_MAX));
    let ended = report(&plan, begun.run.unwrap(), id, ReportOutcome::Succeeded { output: large });
    assert_eq!(output(&ended, &plan), json!({ "status": 500, "at": "/do/0/guard/try/0/work" }));
}

#[test]
fn an_error_that_is_too_large_is_kept_in_short() {
    let plan = plan("do: [{work: {call: work}}]");
    let begun = submit(&plan, Value::Null);
    let id = dispatches(&begun)[0];
    let mut problem = Problem::own("huge", 500, "Huge", "x".repeat(limit::VALUE_BYTES_MAX));
    problem.extra = Some(json!({ "more": "y".repeat(1000) }));
    let failed = ReportOutcome::Failed { problem, retryable: true, retry_after: None, redeliver_after: None };
    let ended = report(&plan, begun.run.unwrap(), id, failed);
    let error = ended.run.unwrap().summary().error.unwrap();
    assert_eq!((error.status, error.instance.as_deref()), (500, Some("/do/0/work")));
    assert!(error.detail.unwrap().len() < 10_000);
}

#[test]
fn outputs_that_are_too_large_together_are_an_error_of_the_loop() {
    let plan = plan(&format!(
        "do: [{{guard: {{try: [{{all: {{for: {{in: \"${{ [range(4)] }}\"}}, metadata: {{concurrency: 4}}, do: [{{work: {{call: work}}}}]}}}}], {CAUGHT}}}}}]"
    ));
    let mut outcome = submit(&plan, Value::Null);
    for _ in 0..2 {
        let id = dispatches(&outcome)[0];
        let half = json!("x".repeat(limit::VALUE_BYTES_MAX / 2));
        outcome = report(&plan, outcome.run.unwrap(), id, ReportOutcome::Succeeded { output: half });
    }
    assert_eq!(output(&outcome, &plan), json!({ "status": 500, "at": "/do/0/guard/try/0/all" }));
    let withdrawn = outcome.commands.iter().filter(|c| matches!(c, Command::Withdraw { .. })).count();
    assert_eq!(withdrawn, 3, "the one that was reported on and the two that were still open");
}

#[test]
fn a_value_that_is_nested_too_deeply_is_an_error() {
    let plan = plan(&format!(
        "do: [{{guard: {{try: [{{loop: {{for: {{in: \"${{ [range(500)] }}\"}}, do: [{{nest: {{set: {{a: \"${{ . }}\"}}}}}}]}}}}], {CAUGHT}}}}}]"
    ));
    let ended = submit(&plan, Value::Null);
    assert_eq!(output(&ended, &plan), json!({ "status": 500, "at": "/do/0/guard/try/0/loop/do/0/nest" }));
}

#[test]
fn a_submission_that_is_too_large_is_refused_and_makes_no_run() {
    let plan = plan("do: [{work: {call: work}}]");
    let refused = submit(&plan, json!("x".repeat(limit::VALUE_BYTES_MAX)));
    assert!(refused.run.is_none() && refused.commands.is_empty());
    assert!(matches!(refused.answer, Folded::Refused(p) if p.status == 413));
}

#[test]
fn more_signals_than_are_kept_are_refused() {
    let plan = plan("do: [{work: {call: work}}]");
    let mut run = submit(&plan, Value::Null).run;
    for n in 0..=limit::SIGNALS_BUFFERED_MAX {
        let id = uuid::Uuid::from_u128(n as u128);
        let outcome = advance(&plan, RUN, run, Timestamp(2), &Event::Signal { id, name: "s".into(), data: json!(n) });
        if n < limit::SIGNALS_BUFFERED_MAX {
            assert_eq!(outcome.answer, Folded::Applied);
        } else {
            assert!(matches!(outcome.answer, Folded::Refused(p) if p.status == 429));
        }
        run = outcome.run;
    }
    let ended = advance(&plan, RUN, run, Timestamp(3), &Event::Cancel { reason: String::new() });
    assert_eq!(ended.run.unwrap().unneeded_values(), []);
}

#[test]
fn a_plan_that_is_not_the_runs_own_is_refused_and_the_run_stays_as_it_is() {
    let own = plan("do: [{work: {call: work}}]");
    let other = plan("do: [{work: {call: work}}, {more: {call: more}}]");
    let run = submit(&own, Value::Null).run.unwrap();
    let before = run.encode().unwrap();
    let outcome = advance(&other, RUN, Some(run), Timestamp(2), &Event::Cancel { reason: String::new() });
    assert!(matches!(outcome.answer, Folded::Refused(p) if p.status == 500));
    let run = outcome.run.unwrap();
    assert_eq!((run.encode().unwrap(), run.state()), (before, RunState::Running));
}

/// A run with something of everything: a fork, loops, a retry under way, timers, a signal, a large value.
fn rich() -> (Arc<Plan>, Vec<u8>, BTreeMap<ValueId, Value>) {
    let plan = plan(
        "timeout: {after: {hours: 1}}
do:
  - all:
      fork:
        branches:
          - wait: {wait: {hours: 2}}
          - loop: {for: {in: \"${ [range(5)] }\", each: n}, do: [{step: {call: step, with: {n: \"${ $n }\", all: \"${ . }\"}, timeout: {after: PT5M}}}]}
          - gather: {for: {in: \"${ .list }\"}, metadata: {concurrency: 2}, do: [{step: {call: step, with: {item: \"${ $item }\"}}}]}
          - again:
              try: [{one: {call: step}}, {two: {call: step}}]
              catch: {retry: {delay: {seconds: 5}, limit: {attempt: {count: 3, duration: PT1M}}}}
          - caught: {try: [{wrong: {raise: {error: {type: 'https://example.com/e', status: 400}}}}], catch: {do: [{step: {call: step, with: {e: \"${ $error }\"}}}]}}
          - more: {try: [{one: {call: step}}], catch: {retry: {delay: {seconds: 5}}}}
",
    );
    let begun = submit(&plan, json!({ "list": ["a", "b", "c"], "text": "x".repeat(1000) }));
    let failing = dispatches(&begun).into_iter().rfind(|id| id.visit.0 >= 1 << 52).unwrap();
    let problem = Problem::own("scripted", 503, "Scripted", "as the test wants it");
    let failed = ReportOutcome::Failed { problem, retryable: true, retry_after: None, redeliver_after: None };
    let run = report(&plan, begun.run.unwrap(), failing, failed).run;
    let signal = Event::Signal { id: uuid::Uuid::from_u128(1), name: "s".into(), data: json!(1) };
    let run = advance(&plan, RUN, run, Timestamp(4), &signal).run.unwrap();
    let values = run.all_values().into_iter().map(|(id, v)| (id, v.as_ref().clone())).collect();
    (Arc::new(plan), run.encode().unwrap(), values)
}

fn events(run: &Run) -> Vec<Event> {
    let open = run.open_dispatches();
    let some = open.first().map_or(
        CommandId { run: RUN, visit: Default::default(), pass: Default::default(), dispatch: 1 },
        |(id, _, _)| *id,
    );
    let report = Report {
        id: some,
        path: StepPath("/".into()),
        token: TaskToken([0; 16]),
        attempt: Default::default(),
        outcome: ReportOutcome::Succeeded { output: json!(1) },
        worker: "test".into(),
        took: Millis(1),
        usage: None,
    };
    let timers = run.open_timers().into_iter().map(|(timer, _)| Event::TimerDue { timer });
    let mut events: Vec<Event> = timers.collect();
    events.extend([
        Event::Report(Box::new(report)),
        Event::TimerDue { timer: TimerId(1) },
        Event::TaskLost { id: some },
        Event::Resume { number: 1 },
        Event::Park { reason: "x".into() },
        Event::Cancel { reason: "x".into() },
    ]);
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_state_is_refused_or_answered_and_never_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let (plan, mut control, values) = rich();
        for (at, byte) in damage {
            let at = at.index(control.len());
            control[at] = byte;
        }
        if let Some(cut) = cut {
            control.truncate(cut.index(control.len()));
        }
        let Ok(mut run) = Run::decode(&control, values) else { return Ok(()) };
        let _ = run.view(&plan);
        for event in events(&run) {
            let outcome = advance(&plan, RUN, Some(run), Timestamp(5_000_000), &event);
            run = outcome.run.unwrap();
            for (id, _, _) in run.open_dispatches() {
                let _ = run.task(&plan, id, PartitionNo(0));
            }
        }
    }
}

#[test]
fn a_run_with_something_of_everything_can_be_read_back() {
    let (plan, control, values) = rich();
    let run = Run::decode(&control, values.clone()).unwrap();
    run.validate(&plan).unwrap();
    assert_eq!(run.encode().unwrap(), control);
    let missing: BTreeMap<ValueId, Value> = values.into_iter().skip(1).collect();
    assert!(Run::decode(&control, missing).is_err(), "a value that is missing is noticed");
}
