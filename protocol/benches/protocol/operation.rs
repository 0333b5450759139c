//! What is measured of the messages. The criterion bench beside it and the counts of `tests/instructions` do the same.

use serde_json::json;
use stepmill_protocol::{
    AttemptNo, CommandId, Event, LogRecord, Millis, Namespace, PartitionNo, Pass, Payload, PoolName, Priority, Report,
    ReportOutcome, RunId, StepKind, StepPath, Task, TaskToken, Value, Visit, WorkflowName,
};
use uuid::Uuid;

const DISPATCH: CommandId =
    CommandId { run: RunId(Uuid::from_u128(0xbe)), visit: Visit(5), pass: Pass(0), dispatch: 1 };

/// A task that carries its input.
pub(crate) fn task() -> Task {
    Task {
        id: DISPATCH,
        namespace: Namespace::new("default").unwrap(),
        workflow: WorkflowName::new("bench").unwrap(),
        partition: PartitionNo(3),
        path: StepPath("/do/4/charge".into()),
        attempt: AttemptNo(1),
        token: TaskToken([7; 16]),
        kind: StepKind::new("charge").unwrap(),
        pool: PoolName::new("default").unwrap(),
        priority: Priority::default(),
        input: Payload::Inline(document()),
        deadline: None,
        retry: None,
        secrets: None,
    }
}

/// The record of a successful report.
pub(crate) fn record() -> LogRecord {
    let report = Report {
        id: DISPATCH,
        path: StepPath("/do/4/charge".into()),
        token: TaskToken([7; 16]),
        attempt: AttemptNo(1),
        outcome: ReportOutcome::Succeeded { output: document() },
        worker: "host-1".into(),
        took: Millis(12),
        usage: None,
    };
    LogRecord { run: DISPATCH.run, event: Event::Report(Box::new(report)), reply: None }
}

fn document() -> Value {
    json!({ "order": 4711, "customer": "a name", "lines": [{ "item": "shoe", "count": 2 }, { "item": "hat", "count": 1 }] })
}
