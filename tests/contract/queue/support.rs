//! What the cases are written with: records, tasks, and ways to wait for something with a deadline.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use stepmill_coordinator::port::queue::{LogMessage, LogReader, OutgoingTask, Start};
use stepmill_coordinator::port::store::Published;
use stepmill_protocol::link::Delivery;
use stepmill_protocol::{
    AttemptNo, CommandId, Event, LogRecord, Millis, Namespace, PartitionNo, Pass, Payload, PoolName, Priority, Report,
    ReportOutcome, RunId, StepKind, StepPath, Task, TaskToken, Visit, WorkflowName,
};
use uuid::Uuid;

use super::Queues;

/// Longer than anything takes on a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// A broker with a partition and a pool that no other case uses.
pub(crate) struct Case {
    pub(crate) queues: Queues,
    pub(crate) partition: PartitionNo,
    pub(crate) pool: PoolName,
    next: Mutex<u64>,
}

impl std::ops::Deref for Case {
    type Target = Queues;
    fn deref(&self) -> &Queues {
        &self.queues
    }
}

impl Case {
    pub(crate) fn new(name: &str, queues: Queues) -> Self {
        let unique = Uuid::new_v4().as_u128();
        let partition = PartitionNo(u16::try_from(unique % 30_000).unwrap() * 2);
        let short: String = name.chars().take(40).collect();
        let pool = PoolName::new(&format!("{short}-{:08x}", unique as u32)).unwrap();
        Self { queues, partition, pool, next: Mutex::new(0) }
    }

    /// A partition that is not [`Case::partition`].
    pub(crate) fn other_partition(&self) -> PartitionNo {
        PartitionNo(self.partition.0 + 1)
    }

    pub(crate) fn number(&self) -> u64 {
        let mut next = self.next.lock().unwrap();
        *next += 1;
        *next
    }

    pub(crate) fn task(&self, priority: Priority) -> Task {
        let id = CommandId { run: new_run(), visit: Visit(self.number()), pass: Pass(0), dispatch: 1 };
        task_of(id, self.partition, self.pool.clone(), priority)
    }

    /// Publishes tasks of normal priority; returns them with their positions.
    pub(crate) async fn publish(&self, count: usize) -> Vec<(Task, Published)> {
        let tasks = (0..count).map(|_| self.task(Priority::Normal)).collect();
        self.publish_these(tasks).await
    }

    pub(crate) async fn publish_these(&self, tasks: Vec<Task>) -> Vec<(Task, Published)> {
        for pool in tasks.iter().map(|t| &t.pool).collect::<std::collections::BTreeSet<_>>() {
            self.tasks.ensure(pool).await.unwrap();
            self.link.join(pool, &[StepKind::new("noop").unwrap()]).await.unwrap();
        }
        let answers = self.tasks.publish(tasks.iter().cloned().map(outgoing).collect()).await;
        assert_eq!(answers.len(), tasks.len());
        tasks.into_iter().zip(answers).map(|(task, answer)| (task, answer.unwrap())).collect()
    }

    /// Fetches until there are `count`.
    pub(crate) async fn fetch(&self, count: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + LONG;
        let mut deliveries = Vec::new();
        while deliveries.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} tasks came", deliveries.len());
            let more = self.link.fetch(&self.pool, count - deliveries.len(), Duration::from_secs(1)).await.unwrap();
            deliveries.extend(more);
        }
        assert_eq!(deliveries.len(), count);
        deliveries
    }

    pub(crate) async fn fetch_one(&self) -> Delivery {
        self.fetch(1).await.remove(0)
    }

    /// Sees that nothing is delivered for a while.
    pub(crate) async fn nothing_comes(&self, wait: Duration) {
        let deliveries = self.link.fetch(&self.pool, 10, wait).await.unwrap();
        assert!(deliveries.is_empty(), "{deliveries:?}");
    }

    pub(crate) async fn read(&self, start: Start) -> Box<dyn LogReader> {
        self.log.read(self.partition, start).await.unwrap()
    }

    /// Appends signals of one run.
    pub(crate) async fn append(&self, run: RunId, count: usize) -> Vec<LogRecord> {
        let records: Vec<LogRecord> = (0..count).map(|_| signal(run, &self.number().to_string())).collect();
        let seqs = self.log.append(self.partition, &records).await.unwrap();
        assert_eq!(seqs.len(), count);
        assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
        records
    }
}

pub(crate) fn outgoing(task: Task) -> OutgoingTask {
    OutgoingTask { message_id: task.id.to_string(), task, again: false }
}

pub(crate) fn task_of(id: CommandId, partition: PartitionNo, pool: PoolName, priority: Priority) -> Task {
    Task {
        id,
        namespace: Namespace::new("n").unwrap(),
        workflow: WorkflowName::new("w").unwrap(),
        partition,
        path: StepPath("/do/0/a".into()),
        attempt: AttemptNo(1),
        token: TaskToken([3; 16]),
        kind: StepKind::new("noop").unwrap(),
        pool,
        priority,
        input: Payload::Inline(serde_json::json!({"ü": [1, null, "x"]})),
        deadline: None,
        retry: None,
        secrets: None,
    }
}

pub(crate) fn new_run() -> RunId {
    RunId(Uuid::new_v4())
}

pub(crate) fn signal(run: RunId, name: &str) -> LogRecord {
    let event = Event::Signal { id: Uuid::from_u128(1), name: name.into(), data: serde_json::json!({"n": name}) };
    LogRecord { run, event, reply: Some("somewhere".into()) }
}

pub(crate) fn snapshot(run: RunId, state: &[u8]) -> LogRecord {
    let event = Event::Snapshot { state: state.to_vec(), values: Vec::new(), as_of: 1 };
    LogRecord { run, event, reply: None }
}

pub(crate) fn report(task: &Task) -> LogRecord {
    let report = Report {
        id: task.id,
        path: task.path.clone(),
        token: task.token,
        attempt: task.attempt,
        outcome: ReportOutcome::Succeeded { output: serde_json::json!(7) },
        worker: "w".into(),
        took: Millis(1),
        usage: None,
    };
    LogRecord { run: task.run(), event: Event::Report(Box::new(report)), reply: None }
}

/// Reads until there are `count` messages; more is a mistake of the log.
pub(crate) async fn next_of(reader: &mut Box<dyn LogReader>, count: usize) -> Vec<LogMessage> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let more = tokio::time::timeout(LONG, reader.next(count - messages.len(), usize::MAX)).await;
        messages.extend(more.unwrap_or_else(|_| panic!("{} of {count} messages came", messages.len())).unwrap());
    }
    assert_eq!(messages.len(), count);
    messages
}

/// Sees that a reader has nothing for a while.
pub(crate) async fn nothing_more(reader: &mut Box<dyn LogReader>) {
    if let Ok(more) = tokio::time::timeout(SHORT, reader.next(10, usize::MAX)).await {
        panic!("{more:?}");
    }
}

pub(crate) fn records(messages: Vec<LogMessage>) -> Vec<LogRecord> {
    messages.into_iter().map(|m| m.record.unwrap()).collect()
}

pub(crate) fn tasks_of(deliveries: &[Delivery]) -> Vec<Task> {
    deliveries.iter().map(|d| d.task.as_ref().unwrap().clone()).collect()
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !ask().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
