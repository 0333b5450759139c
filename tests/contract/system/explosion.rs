//! Expressions that never end or grow without end: each fails its own step in good time, and delays no other run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use stepmill_protocol::api::{RunState, RunView, SubmitRequest};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Client, CloudEvent};

use super::System;

/// How long one may take, from its submission to the error. A second, where the code is optimised and nothing else runs.
const FAILS_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 1 });
/// How long an ordinary run beside them may take.
const OTHERS_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 1 });
/// One that takes its time: it does as much work as an expression may.
const SLOW: &str = "last(repeat(1))";
/// What explodes, each in its own way.
const EXPLOSIONS: &[&str] = &[
    "def f: f; f",
    "[range(1e9)]",
    "[recurse(.)]",
    "until(false; .)",
    "[limit(1e9; repeat(1))]",
    "\"x\" * 1e9",
    "reduce range(100) as $i (\"x\"; . + .)",
    "reduce range(40) as $i (\"x\"; [., .])",
    "reduce range(40) as $i (\"x\"; [., .]) | tojson",
    "reduce range(40) as $i (\"x\"; @text \"\\(.)\\(.)\")",
    "reduce range(100000) as $i (null; [.])",
    "[range(1000)] | last(.[] + .[] + .[] + .[])",
    "[range(2000000)] | sort_by(-.) | group_by(. % 1000)",
    "\"a\" * 1000000 | [range(1000) as $i | test(\"(a|b)*c\")]",
    "last(repeat(try error(\"again\") catch .))",
];

/// Ordinary runs, one after the other, while something else goes on.
struct Others {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

async fn one(client: &Client, workflow: &str) -> Duration {
    let request = SubmitRequest {
        workflow: workflow.parse().unwrap(),
        version: None,
        input: json!({"n": 1}),
        key: Some(uuid::Uuid::new_v4().to_string()),
    };
    let begin = Instant::now();
    // What is not answered may be asked again, under the same key.
    let run = loop {
        match client.submit(&request).await {
            Ok(answer) => break answer.run,
            Err(problem) if matches!(problem.status, 503 | 504) && begin.elapsed() < OTHERS_WITHIN => {}
            Err(problem) => panic!("{problem:?}"),
        }
    };
    let view = client.result(run).await.unwrap();
    assert_eq!(view.state, RunState::Completed, "{view:?}");
    begin.elapsed()
}

impl Others {
    async fn begin(system: &System) -> Self {
        system.define("ordinary", "do: [{ a: { set: { n: '${ .n + 1 }' } } }]").await;
        let (client, stop) = (system.client.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                times.push(one(&client, "ordinary").await);
            }
            times
        });
        Self { stop, task }
    }

    async fn end(self, beside: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.task.await.unwrap();
        times.sort_unstable();
        let (count, worst) = (times.len(), times.last().copied().unwrap_or_default());
        let middle = times.get(count / 2).copied().unwrap_or_default();
        println!("beside {beside}: {count} ordinary runs, in the middle {middle:.1?}, at worst {worst:.1?}");
        assert!(count > 0 && worst < OTHERS_WITHIN, "{count} runs, the slowest took {worst:?} beside {beside}");
    }
}

/// The error is that of a limit, in the step that is meant.
fn is_at_its_limit(view: &RunView, place: &str) {
    let problem = view.error.as_ref().unwrap_or_else(|| panic!("{place}: {view:?}"));
    assert!(problem.is(Standard::Expression), "{place}: {problem:?}");
    let detail = problem.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("exceeded its limit"), "{place}: {problem:?}");
}

async fn fails(system: &System, name: &str, place: &str, event: Option<&CloudEvent>) {
    let begin = Instant::now();
    let run = system.submit(name, json!({"n": [1, [2]]})).await;
    if let Some(event) = event {
        system.client.event(event).await.unwrap();
    }
    let view = system.result(run).await;
    let took = begin.elapsed();
    println!("{took:>8.1?} {place}");
    is_at_its_limit(&view, place);
    assert!(took < FAILS_WITHIN, "{place} took {took:?}");
}

pub(super) async fn each_kind_fails_its_own_step(system: System) {
    let others = Others::begin(&system).await;
    for (n, text) in EXPLOSIONS.iter().enumerate() {
        let name = format!("explodes-{n}");
        let text = serde_json::to_string(&format!("${{ {text} }}")).unwrap();
        system.define(&name, &format!("do: [{{ a: {{ set: {{ x: {text} }} }} }}]")).await;
        fails(&system, &name, &text, None).await;
    }
    others.end("expressions that explode").await;
}

pub(super) async fn it_fails_wherever_it_stands(system: System) {
    let others = Others::begin(&system).await;
    let nothing = "set: { a: 1 }";
    let error = "{ type: 'https://example.com/no', status: 418, title: No }";
    let places = [
        ("if", format!("do: [{{ a: {{ if: '{SLOW}', {nothing} }} }}]")),
        ("input.from", format!("do: [{{ a: {{ input: {{ from: '{SLOW}' }}, {nothing} }} }}]")),
        ("output.as", format!("do: [{{ a: {{ {nothing}, output: {{ as: '{SLOW}' }} }} }}]")),
        ("export.as", format!("do: [{{ a: {{ {nothing}, export: {{ as: '{SLOW}' }} }} }}]")),
        ("the workflow's input.from", format!("input: {{ from: '{SLOW}' }}\ndo: [{{ a: {{ {nothing} }} }}]")),
        ("the workflow's output.as", format!("output: {{ as: '{SLOW}' }}\ndo: [{{ a: {{ {nothing} }} }}]")),
        ("set", format!("do: [{{ a: {{ set: '{SLOW}' }} }}]")),
        ("switch", format!("do: [{{ a: {{ switch: [{{ one: {{ when: '{SLOW}', then: end }} }}] }} }}]")),
        ("for.in", format!("do: [{{ a: {{ for: {{ in: '{SLOW}' }}, do: [{{ b: {{ {nothing} }} }}] }} }}]")),
        ("while", format!("do: [{{ a: {{ for: {{ in: .n }}, while: '{SLOW}', do: [{{ b: {{ {nothing} }} }}] }} }}]")),
        ("wait", format!("do: [{{ a: {{ wait: '${{ {SLOW} }}' }} }}]")),
        (
            "timeout",
            format!("do: [{{ a: {{ do: [{{ b: {{ {nothing} }} }}], timeout: {{ after: '${{ {SLOW} }}' }} }} }}]"),
        ),
        (
            "raise",
            format!(
                "do: [{{ a: {{ raise: {{ error: {{ type: 'https://example.com/no', status: 418, title: '${{ {SLOW} }}' }} }} }} }}]"
            ),
        ),
        ("a call's with", format!("do: [{{ a: {{ call: noop, with: {{ x: '${{ {SLOW} }}' }} }} }}]")),
        (
            "catch.when",
            format!(
                "do: [{{ a: {{ try: [{{ b: {{ raise: {{ error: {error} }} }} }}], catch: {{ when: '{SLOW}' }} }} }}]"
            ),
        ),
        (
            "retry.when",
            format!(
                "do: [{{ a: {{ try: [{{ b: {{ raise: {{ error: {error} }} }} }}], catch: {{ retry: {{ when: '{SLOW}', limit: {{ attempt: {{ count: 2 }} }} }} }} }} }}]"
            ),
        ),
        ("many of a template", format!("do: [{{ a: {{ set: {{ {} }} }} }}]", many("[range(1500000)] | length"))),
        (
            "copies of the input",
            format!("input: {{ from: '[range(100000)]' }}\ndo: [{{ a: {{ set: {{ {} }} }} }}]", many(".")),
        ),
    ];
    for (n, (place, text)) in places.iter().enumerate() {
        let name = format!("place-{n}");
        system.define(&name, text).await;
        fails(&system, &name, place, None).await;
    }
    others.end("places where an expression can stand").await;
}

fn many(text: &str) -> String {
    let fields: Vec<String> = (0..400).map(|n| format!("f{n}: '${{ {text} }}'")).collect();
    fields.join(", ")
}

fn event(id: usize) -> CloudEvent {
    let event = json!({"specversion": "1.0", "id": format!("e{id}"), "source": "/test", "type": "com.example.tick", "data": {"n": [1]}});
    serde_json::from_value(event).unwrap()
}

pub(super) async fn a_filter_that_explodes_fails_its_listen(system: System) {
    let others = Others::begin(&system).await;
    let listen = |filter: &str| format!("do: [{{ a: {{ listen: {{ to: {{ one: {{ {filter} }} }} }} }} }}]");
    let places = [
        ("data", listen(&format!("with: {{ type: com.example.tick, data: '${{ {SLOW} }}' }}"))),
        ("data with variables", listen(&format!("with: {{ type: com.example.tick, data: '${{ $input | {SLOW} }}' }}"))),
        (
            "correlate.from",
            listen(&format!("with: {{ type: com.example.tick }}, correlate: {{ key: {{ from: '${{ {SLOW} }}' }} }}")),
        ),
        (
            "correlate.expect",
            listen(&format!(
                "with: {{ type: com.example.tick }}, correlate: {{ key: {{ from: .id, expect: '${{ {SLOW} }}' }} }}"
            )),
        ),
        ("an attribute", listen(&format!("with: {{ type: com.example.tick, subject: '${{ {SLOW} }}' }}"))),
        (
            "until",
            format!(
                "do: [{{ a: {{ listen: {{ to: {{ any: [{{ with: {{ type: com.example.tick }} }}], until: '{SLOW}' }} }} }} }}]"
            ),
        ),
    ];
    for (n, (place, text)) in places.iter().enumerate() {
        let name = format!("filter-{n}");
        system.define(&name, text).await;
        fails(&system, &name, place, Some(&event(n))).await;
    }
    others.end("filters that explode").await;
}

/// A loop that catches what explodes in it goes on for hours; nobody notices.
pub(super) async fn a_loop_over_one_makes_way(system: System) {
    let body = format!(
        "do: [{{ b: {{ try: [{{ c: {{ set: {{ x: '${{ {SLOW} }}' }} }} }}], catch: {{ do: [{{ d: {{ set: {{ y: 1 }} }} }}] }} }} }}]"
    );
    system.define("grinds", &format!("do: [{{ a: {{ for: {{ in: '[range(100000)]' }}, {body} }} }}]")).await;
    let grinding = system.submit("grinds", json!({})).await;
    let others = Others::begin(&system).await;
    // Sixteen of them, which is some in each partition.
    for _ in 0..16 {
        one(&system.client, "ordinary").await;
    }
    others.end("loops that catch what explodes").await;
    system.client.cancel(grinding, "enough").await.unwrap();
    assert_eq!(system.result(grinding).await.state, RunState::Cancelled);
}
