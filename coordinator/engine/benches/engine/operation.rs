//! What is measured of the engine. The criterion bench beside it and the counts of `tests/instructions` do the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepmill_definition::plan::Plan;
use stepmill_engine::{Outcome, Run, advance};
use stepmill_protocol::api::Folded;
use stepmill_protocol::{
    Event, Millis, PartitionNo, Report, ReportOutcome, RunId, StepPath, Submitted, Timestamp, ValueId,
};
use uuid::Uuid;

const RUN: RunId = RunId(Uuid::from_u128(0xbe));
/// Branches of the fan-out.
const BRANCHES: usize = 1_000;

/// Something a step would pass on; small enough to travel inline.
fn document() -> Value {
    json!({ "order": 4711, "customer": "a name", "lines": [{ "item": "shoe", "count": 2 }, { "item": "hat", "count": 1 }] })
}

/// A run on its way, in its stored form, and what happens to it next.
pub(crate) struct Case {
    plan: Plan,
    control: Vec<u8>,
    values: BTreeMap<ValueId, Value>,
    next: Event,
}

/// A workflow that opens all its branches when it is submitted.
pub(crate) struct FanOut {
    plan: Plan,
    submitted: Event,
}

impl Case {
    /// The fifth of ten steps in a row reports.
    pub(crate) fn chain() -> Self {
        let steps: Vec<Value> = (0..10).map(|n| json!({ format!("step{n}"): { "call": "work" } })).collect();
        Self::after(plan(&json!(steps)), document(), 4)
    }

    /// The body of a loop over a thousand items reports, and the next iteration begins.
    pub(crate) fn iteration() -> Self {
        let call = json!({ "call": "work", "with": { "item": "${ $item }", "had": "${ .order }" } });
        let each = json!({ "for": { "in": "${ [range(1000)] }" }, "do": [{ "work": call }] });
        Self::after(plan(&json!([{ "each": each }])), document(), 10)
    }

    /// One of a thousand branches reports.
    pub(crate) fn branch() -> Self {
        Self::after(FanOut::new().plan, Value::Null, 0)
    }

    /// The last of a thousand branches reports, and they are joined.
    pub(crate) fn join() -> Self {
        Self::after(FanOut::new().plan, Value::Null, BRANCHES - 1)
    }

    /// Lets a run go on by `reports` reports; the one after is what comes next.
    fn after(plan: Plan, input: Value, reports: usize) -> Self {
        let mut run = to_rest(&plan, None, &submission(&plan, input));
        for _ in 0..reports {
            let event = report(&plan, &run);
            run = to_rest(&plan, Some(run), &event);
        }
        let values = run.all_values().into_iter().map(|(id, value)| (id, value.as_ref().clone())).collect();
        Self { control: run.encode().unwrap(), values, next: report(&plan, &run), plan }
    }

    /// The run as its owner holds it: read back, and held against its plan.
    pub(crate) fn load(&self) -> Run {
        let nothing = Event::Snapshot { state: Vec::new(), values: Vec::new(), as_of: 0 };
        let outcome = advance(&self.plan, RUN, Some(self.read(self.stored())), Timestamp(2), &nothing);
        assert!(matches!(outcome.answer, Folded::Ignored { .. }), "{:?}", outcome.answer);
        outcome.run.unwrap()
    }

    /// Folds what comes next.
    pub(crate) fn fold(&self, run: Run) -> Outcome {
        let outcome = advance(&self.plan, RUN, Some(run), Timestamp(3), &self.next);
        assert_eq!(outcome.answer, Folded::Applied);
        outcome
    }

    /// The values beside the control state, as they come from the store.
    pub(crate) fn stored(&self) -> BTreeMap<ValueId, Value> {
        self.values.clone()
    }

    /// Reads the run from its control state.
    pub(crate) fn read(&self, values: BTreeMap<ValueId, Value>) -> Run {
        Run::decode(&self.control, values).unwrap()
    }
}

impl FanOut {
    pub(crate) fn new() -> Self {
        let call = json!({ "call": "work", "with": { "n": "${ $item }" } });
        let all = json!({
            "for": { "in": format!("${{ [range({BRANCHES})] }}") }, "metadata": { "concurrency": BRANCHES },
            "do": [{ "work": call }],
        });
        let plan = plan(&json!([{ "all": all }]));
        Self { submitted: submission(&plan, Value::Null), plan }
    }

    /// Folds the submission and every turn that the run asks for, until all branches wait.
    pub(crate) fn open(&self) -> Run {
        to_rest(&self.plan, None, &self.submitted)
    }
}

fn plan(tasks: &Value) -> Plan {
    let document = json!({ "dsl": "1.0.3", "namespace": "default", "name": "bench", "version": "1.0.0" });
    stepmill_definition::compile(&json!({ "document": document, "do": tasks }).to_string()).unwrap().plan
}

fn submission(plan: &Plan, input: Value) -> Event {
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

/// The report on the first dispatch that is open.
fn report(plan: &Plan, run: &Run) -> Event {
    let (id, _, _) = run.open_dispatches().into_iter().next().unwrap();
    let task = run.task(plan, id, PartitionNo(0)).unwrap();
    Event::Report(Box::new(Report {
        id,
        path: StepPath("/".into()),
        token: task.token,
        attempt: task.attempt,
        outcome: ReportOutcome::Succeeded { output: document() },
        worker: "bench".into(),
        took: Millis(1),
        usage: None,
    }))
}

/// Folds an event and every turn that the run asks for.
fn to_rest(plan: &Plan, run: Option<Run>, event: &Event) -> Run {
    let outcome = advance(plan, RUN, run, Timestamp(1), event);
    assert_eq!(outcome.answer, Folded::Applied);
    let mut run = outcome.run.unwrap();
    while let Some(number) = run.pending_yield() {
        run = advance(plan, RUN, Some(run), Timestamp(1), &Event::Resume { number }).run.unwrap();
    }
    run
}
