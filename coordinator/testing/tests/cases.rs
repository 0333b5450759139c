//! What a case can say, and what it says when things are not as expected.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::{Value, json};
use stepmill_testing::{Answer, Case, Definition, Outcome, SpotKind, Suite};

const HEADER: &str = "document: {dsl: '1.0.3', namespace: default, name: tested, version: '1.0.0'}\n";

fn definition(text: &str) -> Definition {
    Definition::compile(&format!("{HEADER}{text}")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The outcome of the one case of a file.
fn run(of: &str, case: &str) -> Outcome {
    let lines: String = case.lines().map(|line| format!("    {line}\n")).collect();
    let suite = Suite::read(&format!("cases:\n  - name: it\n{lines}")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    definition(of).run(&suite.cases[0])
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.failures.iter().map(|failure| failure.code).collect()
}

const CALL: &str = "do: [{work: {call: work, with: {n: '${ .n }'}}}]";

#[test]
fn every_expectation_can_fail() {
    let wrong = "
input: {n: 2}
mocks: {work: {result: '${ {m: (.n + 1)} }'}}
expect:
  output: {m: 4}
  outputIncludes: {k: 1}
  path: [work, work]
  never: [work]
  attempts: {work: 2}
  commands: [{step: work, pool: other}]
  modelCalls: 1
  took: PT1S
  holds: ['.output.m > 3']
";
    let outcome = run(CALL, wrong);
    let expected = ["output", "output", "path", "never", "attempts", "model-calls", "took", "commands", "holds"];
    assert_eq!(codes(&outcome), expected, "{outcome}");
    let told = outcome.to_string();
    for part in [
        "/m: expected 4, got 3",
        "after `work` (number 1) nothing more came, not `work`",
        "it was [work]",
        "/pool: expected \"other\", got \"default\"",
    ] {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    assert!(outcome.failures.iter().all(|failure| failure.place.span.is_some()), "{outcome:?}");
}

#[test]
fn an_error_is_compared_by_its_fields() {
    let case = "
mocks: {work: {error: {type: timeout, detail: too slow}, retryable: false}}
expect: {error: {type: timeout, status: 408, detail: too slow, instance: /do/0/work}}
";
    run(CALL, case).assert();
    let outcome = run(CALL, &case.replace("status: 408", "status: 500"));
    assert_eq!(codes(&outcome), ["error"]);
    assert!(outcome.to_string().contains("/status: expected 500, got 408"), "{outcome}");
    let outcome = run(CALL, "mocks: {work: {error: broken}}");
    assert_eq!(codes(&outcome), ["state"]);
    assert!(outcome.to_string().contains("broken"), "{outcome}");
}

#[test]
fn what_is_not_mocked_says_what_to_add() {
    let outcome = run(CALL, "input: {n: 1}");
    assert_eq!(codes(&outcome), ["not-mocked"]);
    let told = outcome.to_string();
    assert!(told.contains("mocks:\n      work: { result: … }") && told.contains("{\"n\":1}"), "{told}");
}

#[test]
fn answers_that_are_used_up_and_answers_that_are_not_used_are_told() {
    let twice = "do: [{all: {for: {in: '${ [1, 2] }'}, do: [{work: {call: work}}]}}]";
    let outcome = run(twice, "mocks: {work: [{result: 1}]}");
    assert_eq!(codes(&outcome), ["no-answer-left"], "{outcome}");
    let outcome = run(twice, "mocks: {work: [{result: 1}, {result: 2}, {result: 3}]}");
    assert!(outcome.passed(), "{outcome}");
    assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
    let outcome = run("do: [{a: {set: {done: true}}}, {b: {if: 'false', call: b}}]", "mocks: {b: {result: 1}}");
    assert_eq!(outcome.warnings[0].code, "unused-mock");
    let outcome = run("do: [{a: {set: {done: true}}}]", "mocks: {a: {result: 1}}");
    assert_eq!(codes(&outcome), ["not-mockable"]);
}

#[test]
fn an_answer_may_depend_on_the_input() {
    let each = "do: [{all: {for: {in: '${ [1, 2, 3] }'}, metadata: {concurrency: 3}, do: [{work: {call: work, with: {n: '${ $item }'}}}]}}]";
    let case = "
mocks:
  work:
    - { when: .n == 2, result: two, latency: PT2S }
    - { result: '${ .n * 10 }', times: always, latency: PT1S }
expect: { output: [10, two, 30], took: PT2S }
";
    run(each, case).assert();
}

#[test]
fn names_that_do_not_exist_are_mistakes_with_a_place() {
    let source = "cases:\n  - name: it\n    mocks: {wrok: {result: 1}}\n    expect: {path: [work], never: [play]}\n";
    let suite = Suite::read(source).unwrap();
    let mistakes = definition(CALL).check(&suite.cases[0]);
    let told: Vec<(&str, &str)> = mistakes
        .iter()
        .map(|m| (m.span.map_or("", |(at, length)| &source[at..at + length]), m.help.as_str()))
        .collect();
    assert_eq!(told[0], ("wrok", "did you mean `work`?"));
    assert_eq!(told[1].0, "play");
}

#[test]
fn mistakes_of_all_cases_are_told_at_once() {
    let source = "mocks: 3\ncases:\n  - name: a\n    imput: 1\n  - name: b\n    expect: {state: done}\n  - name: c\n  - name: c\n";
    let told = Suite::read(source).unwrap_err().to_string();
    for part in ["1:8", "did you mean `input`?", "`done` is not known", "a second case is called `c`"] {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
}

/// The call is alone in its `try`, so a worker has the broker redeliver it.
const BY_BROKER: &str = "
do:
  - guard:
      try: [{work: {call: work}}]
      catch:
        retry: {delay: {seconds: 2}, limit: {attempt: {count: 3}}}
        do: [{gaveUp: {set: {gave: up}}}]
";

#[test]
fn retries_by_the_broker_look_like_those_by_the_engine() {
    let by_engine = BY_BROKER.replace("{call: work}", "{call: work, timeout: {after: {hours: 1}}}");
    let case = "
mocks: {work: [{error: busy, times: 2}, {result: done}]}
expect:
  output: done
  path: [guard, work, work, work]
  attempts: {work: 3}
  commands: [{step: work, attempt: 1, at: PT0S}, {step: work, attempt: 2, at: PT2S}, {step: work, attempt: 3, at: PT4S}]
  took: PT4S
";
    let gives_up = "
mocks: {work: {error: busy}}
expect: {output: {gave: up}, path: [guard, work, work, work, gaveUp], took: PT4S}
";
    for definition in [BY_BROKER, &by_engine] {
        run(definition, case).assert();
        run(definition, gives_up).assert();
    }
    let broker = definition(BY_BROKER).run(&Case::new("one task").mock("work", [Answer::result(json!(1))]));
    assert!(broker.passed());
}

#[test]
fn a_worker_waits_as_long_as_it_was_asked_to() {
    let case = "
mocks: {work: [{error: {status: 429}, retryAfter: {seconds: 30}, latency: PT1S}, {result: 1, latency: PT1S}]}
expect: {took: PT32S}
";
    run(BY_BROKER, case).assert();
}

#[test]
fn what_hangs_ends_with_its_timeout_or_is_seen_to_wait() {
    let limited = "do: [{work: {call: work, timeout: {after: PT5S}}}]";
    run(limited, "mocks: {work: {hangs: true}}\nexpect: {error: {type: timeout}, took: PT5S}").assert();
    run(limited, "mocks: {work: {result: 1, latency: PT6S}}\nexpect: {error: {type: timeout}, took: PT5S}").assert();
    run(CALL, "mocks: {work: {hangs: true}}\nexpect: {state: running, holds: ['.waitsFor | length == 1']}").assert();
    let outcome = run(CALL, "mocks: {work: {hangs: true}}");
    assert_eq!(codes(&outcome), ["state"]);
    assert!(outcome.to_string().contains("/do/0/work waits for report"), "{outcome}");
}

#[test]
fn large_values_travel_as_in_production() {
    let chain = "do: [{big: {call: big}}, {next: {call: next}}]";
    let case = "
mocks:
  big: {result: '${ {text: (\"x\" * 100000)} }'}
  next: {result: '${ .text | length }'}
expect: {output: 100000}
";
    run(chain, case).assert();
    let outcome = run(chain, &case.replace("100000)", "800000)").replace("next:", "#next:"));
    assert!(outcome.to_string().contains("VALUE_BYTES_MAX"), "{outcome}");
}

#[test]
fn signals_and_cancels_come_at_their_time() {
    let waits = "do: [{pause: {wait: PT10S}}, {after: {set: {done: true}}}]";
    let late = "signals: [{at: PT11S, name: go}]";
    assert_eq!(codes(&run(waits, late)), ["signal"]);
    run(waits, "signals: [{at: PT5S, name: go, data: 1}]\nexpect: {took: PT10S}").assert();
    let cancelled = "cancel: {at: PT3S, reason: enough}\nexpect: {state: cancelled, took: PT3S, never: [after]}";
    run(waits, cancelled).assert();
}

#[test]
fn a_step_is_tested_alone() {
    let nested = "
do:
  - each:
      for: {each: order, in: '${ .orders }'}
      do:
        - guard:
            try: [{ship: {call: ship, with: {order: '${ $order.id }', to: '${ $context.city }'}, export: {as: '${ $context + {shipped: .} }'}}}]
            catch: {as: why, do: [{note: {set: {text: '${ $order.id + \": \" + $why.detail }'}}}]}
  - last: {set: {done: true}}
";
    let ship = "
alone: {step: ship, input: {}, context: {city: Rome}, variables: {order: {id: o-1}}}
mocks: {ship: {result: on its way}}
expect:
  path: [ship]
  commands: [{step: ship, input: {order: o-1, to: Rome}}]
  output: on its way
  context: {city: Rome, shipped: on its way}
";
    run(nested, ship).assert();
    let note = "
alone: {step: note, variables: {order: {id: o-1}, why: {detail: no stock}}}
expect: {output: {text: 'o-1: no stock'}, path: [note]}
";
    run(nested, note).assert();
    let guard = "
alone: {step: guard, variables: {order: {id: o-1}}}
mocks: {ship: {error: no stock}}
expect: {output: {text: 'o-1: no stock'}, path: [guard, ship, note]}
";
    run(nested, guard).assert();
    let outcome = run(nested, "alone: {step: shop}");
    assert_eq!(codes(&outcome), ["unknown-step"]);
    assert_eq!(codes(&run(CALL, "mocks: {work: {result: 1}}\nexpect: {context: 1}")), ["no-effect"]);
}

#[test]
fn secrets_are_shown_by_name() {
    let with_secret =
        "use: {secrets: [token]}\ndo: [{work: {call: work, with: {key: '${ \"Bearer \" + $secrets.token }'}}}]";
    let case = "mocks: {work: {result: 1}}\nexpect: {commands: [{step: work, input: {key: Bearer <secret token>}}]}";
    run(with_secret, case).assert();
}

#[test]
fn usage_of_models_is_counted() {
    let asks = "do: [{ask: {call: llm, with: {prompt: hi}}}]";
    let case = "
mocks: {ask: {result: {content: hello, usage: {tokens_in: 3, tokens_out: 4}}}}
expect: {modelCalls: 1, holds: [.tokensIn == 3 and .tokensOut == 4]}
";
    run(asks, case).assert();
    let said = "mocks: {ask: {result: {}, usage: {modelCalls: 5}}}\nexpect: {modelCalls: 5}";
    run(asks, said).assert();
}

#[test]
fn coverage_tells_nodes_and_branches_apart() {
    let branches = "
do:
  - maybe: {if: .yes, set: {yes: true}}
  - way:
      switch:
        - left: {when: .left, then: end}
        - right: {when: .right, then: continue}
  - loop:
      for: {in: '${ .items // [] }'}
      while: .go
      do: [{one: {set: '${ . }'}}]
  - safe:
      try: [{work: {call: work}}]
      catch: {retry: {delay: PT1S, limit: {attempt: {count: 2}}}, then: continue}
  - only: {try: [{more: {set: {a: 1}}}], catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}}
";
    let definition = definition(branches);
    let mut coverage = definition.coverage();
    let missed = |coverage: &stepmill_testing::Coverage| -> Vec<String> {
        coverage.missed().map(|spot| format!("{} {}", spot.path, spot.branch)).collect()
    };
    assert_eq!(coverage.count(SpotKind::Node), (0, 8));
    assert_eq!(coverage.count(SpotKind::Branch), (0, 10));
    let run = |input: Value, answers: &[Answer]| {
        let mut case = Case::new("it").input(input);
        case.mocks.insert("work".into(), stepmill_testing::Answers(answers.iter().cloned().map(Into::into).collect()));
        definition.run(&case)
    };
    let busy = || Answer::error(stepmill_protocol::Problem::own("busy", 503, "Busy", "busy"));
    coverage.add(&run(json!({}), &[Answer::result(json!(1))]));
    assert_eq!(
        missed(&coverage),
        [
            "/do/0/maybe ",
            "/do/0/maybe `if` holds",
            "/do/1/way case left",
            "/do/1/way case right",
            "/do/2/loop there are items",
            "/do/2/loop `while` ends it",
            "/do/2/loop/do/0/one ",
            "/do/3/safe tried again",
            "/do/3/safe an error is caught",
        ]
        .map(str::to_owned)
        .to_vec()
    );
    coverage.add(&run(json!({"yes": true, "left": 1}), &[Answer::result(json!(1))]));
    coverage.add(&run(json!({"right": 1, "items": [1], "go": true}), &[busy(), busy()]));
    coverage.add(&run(json!({"items": [1]}), &[Answer::result(json!(1))]));
    // `maybe` replaced the input, so `left` was gone.
    assert_eq!(missed(&coverage), ["/do/1/way case left"]);
    coverage.add(&run(json!({"left": 1}), &[Answer::result(json!(1))]));
    assert_eq!(missed(&coverage), [""; 0]);
}

#[test]
fn a_run_without_an_end_is_stopped() {
    let endless = "do: [{tick: {wait: PT1S}}, {again: {set: {done: true}, then: tick}}]";
    let outcome = run(endless, "expect: {state: running}");
    assert_eq!(codes(&outcome), ["endless"]);
}

#[test]
fn latency_is_virtual() {
    let case = Case::new("a slow worker")
        .input(json!({"n": 1}))
        .mock("work", Answer::result(json!(1)).latency(Duration::from_secs(86_400 * 30)))
        .expect_path(["work"])
        .expect_output(json!(1));
    let outcome = definition(CALL).run(&case);
    outcome.assert();
    assert_eq!(outcome.facts.took_ms.0, 86_400_000 * 30);
}

#[test]
#[should_panic(expected = "the output is another one")]
fn a_failed_case_ends_a_test() {
    let case = Case::new("it").mock("work", Answer::result(json!(1))).expect_output(json!(2));
    definition(CALL).run(&case).assert();
}

#[test]
fn runs_of_other_workflows_are_mocked_like_steps() {
    let starts = "
do:
  - ship:
      try: [{parcel: {run: {workflow: {namespace: default, name: parcel, version: '1.0.0', input: {to: '${ .city }'}}}}}]
      catch: {do: [{byHand: {set: {why: '${ $error.detail }'}}}]}
  - tell: {run: {workflow: {namespace: default, name: letter, version: '1.0.0'}, await: false}}
";
    let case = "
input: {city: Rome}
mocks: {parcel: {result: '${ {sent: .to} }', latency: PT2H, usage: {modelCalls: 2}}}
expect:
  path: [ship, parcel, tell]
  output: {sent: Rome}
  commands: [{step: parcel, pool: system, input: {to: Rome}}, {step: tell, at: PT2H}]
  modelCalls: 2
  took: PT2H
";
    run(starts, case).assert();
    let fails = "mocks: {parcel: {error: no van}}\nexpect: {output: {why: no van}, path: [ship, parcel, byHand, tell]}";
    run(starts, fails).assert();
    run(starts, "mocks: {parcel: {hangs: true}}\nexpect: {state: running, path: [ship, parcel]}").assert();
    assert_eq!(codes(&run(starts, "input: {}")), ["not-mocked"]);
}

#[test]
fn events_come_at_their_time() {
    let listens = "
do:
  - paid:
      listen: {to: {any: [{with: {type: order.paid, data: '${ .amount > 10 }'}}, {with: {type: order.dropped}}]}}
  - done: {set: {amount: '${ .[0].amount }'}}
";
    let case = "
events:
  - {at: PT1S, event: {type: order.paid, data: {amount: 5}}, taken: false}
  - {at: PT2S, event: {type: order.paid, data: {amount: 50}}}
expect: {output: {amount: 50}, path: [paid, done], took: PT2S}
";
    run(listens, case).assert();
    let outcome = run(listens, &case.replace(", taken: false", ""));
    assert_eq!(codes(&outcome), ["event"]);
    assert!(outcome.to_string().contains("nothing in the run waits for this event"), "{outcome}");
    let late = "
events:
  - {at: PT2S, event: {type: order.dropped, data: {}}}
  - {at: PT3S, event: {type: order.paid, data: {amount: 60}}}
";
    assert_eq!(codes(&run(listens, late)), ["event"]);
    run(listens, "expect: {state: running, holds: ['.waitsFor == [\"/do/0/paid waits for event\"]']}").assert();
    assert_eq!(codes(&run(listens, "events: [{event: {data: 1}}]")), ["event"]);
}

#[test]
fn steps_that_undo_are_mocked_and_seen() {
    let undone = "
use: {functions: {cancelBooking: {call: cancel-booking, with: {booking: '${ .output }'}}}}
do:
  - book: {call: book, metadata: {compensate: cancelBooking}}
  - pay: {call: pay}
";
    let case = "
mocks: {book: {result: b-1}, pay: {error: no money, retryable: false}, cancelBooking: {result: null}}
expect:
  error: {detail: no money}
  path: [book, pay, cancelBooking]
  commands: [..., {step: cancelBooking, input: {booking: b-1}}]
";
    run(undone, case).assert();
}

const TELLS: &str = "
do:
  - both:
      fork:
        branches:
          - ear: {listen: {to: {one: {with: {type: told}}}}}
          - mouth: {emit: {event: {with: {type: told, subject: s, data: '${ .n }'}}}}
      output: {as: '${ .[0] }'}
  - push:
      emit: {event: {with: {type: pushed}}}
      metadata: {endpoint: 'https://hub.example'}
      output: {as: '${ $input }'}
";

#[test]
fn what_is_emitted_can_be_expected() {
    let fine = "
input: {n: 2}
expect:
  output: [2]
  emitted: [{type: told, data: 2, source: /default/tested/1.0.0}, {type: pushed}]
  path: [both, ear, mouth, push]
";
    run(TELLS, fine).assert();
    run(TELLS, &fine.replace("[{type: told, data: 2, source: /default/tested/1.0.0}", "[...")).assert();
    let other = run(TELLS, &fine.replace("data: 2", "data: 3"));
    assert_eq!(codes(&other), ["emitted"], "{other}");
    assert!(other.to_string().contains("/data: expected 3, got 2"), "{other}");
    let more = run(TELLS, &fine.replace("{type: pushed}]", "{type: pushed}, {type: last}]"));
    assert!(more.to_string().contains("nothing more came, not `last`"), "{more}");
    // One that is sent may fail, and a mock says so; one that is stored has no mock.
    let fails = "
input: {n: 1}
mocks: {push: {error: communication}}
expect: {state: faulted, emitted: [{type: told}]}
";
    run(TELLS, fails).assert();
    assert_eq!(codes(&run(TELLS, "mocks: {mouth: {result: 1}}")), ["not-mockable"]);
}

#[test]
fn an_extended_step_is_mocked_as_itself() {
    let extended = "
use: {extensions: [{log: {extend: call, when: '$task.name == \"work\"', before: [{log: {call: log}}]}}]}
do: [{work: {if: '${ .n > 1 }', call: work, with: {n: '${ .n }'}}}]
";
    let case = "
input: {n: 2}
mocks: {log: {result: 1}, work: {result: '${ .n }'}}
expect: {output: 2, path: [log, work]}
";
    run(extended, case).assert();
    let skipped = "input: {n: 1}\nexpect: {output: {n: 1}, path: []}";
    run(extended, skipped).assert();
    let definition = definition(extended);
    let suite = Suite::read("cases: [{name: it, input: {n: 1}}]").unwrap();
    let mut coverage = definition.coverage();
    coverage.add(&definition.run(&suite.cases[0]));
    let reached: Vec<&str> = coverage.spots().filter(|s| s.hits > 0).map(|s| s.branch.as_str()).collect();
    assert_eq!(reached, ["`if` does not hold"]);
}
