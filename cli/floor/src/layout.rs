//! Streams, consumers and subjects of both variants. Those of the product are made by the product's own adapter, so that
//! they cannot drift apart.

use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};
use stepmill_nats::subject::{self, LogSubject, LogWriter};
use stepmill_nats::{Nats, NatsOptions, StreamOptions};
use stepmill_protocol::{CommandId, Pass, PoolName, Priority, StepKind, Visit};

use crate::error::FloorError;
use crate::mark::Mark;
use crate::variant::Variant;

const BARE_TASKS: &str = "FLOOR_TASKS";
const BARE_RESULTS: &str = "FLOOR_RESULTS";
const BARE_TASK: &str = "floor.task";
const BARE_RESULT: &str = "floor.result";
/// Deliveries of one consumer that may be unacked, as in the product.
const ACK_PENDING_MAX: i64 = 20_000;
/// Far above what one task of the loop takes.
const ACK_WAIT_NANOS: u64 = 30_000_000_000;
/// The product's number of partitions unless said.
const PARTITIONS: u16 = 8;

/// Where messages go and where they are taken from.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    variant: Variant,
    pool: PoolName,
    task: String,
}

/// A consumer to pull from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) stream: String,
    pub(crate) consumer: String,
}

impl Layout {
    pub(crate) fn new(variant: Variant) -> Result<Self, FloorError> {
        let pool = PoolName::new("default").map_err(|e| FloorError::nats("the pool", e))?;
        let kind = StepKind::new("noop").map_err(|e| FloorError::nats("the kind of step", e))?;
        let task = match variant {
            Variant::Product => subject::task(&pool, Priority::default(), &kind),
            Variant::Bare => BARE_TASK.into(),
        };
        Ok(Self { variant, pool, task })
    }

    /// Makes the streams, and the consumer of the worker.
    pub(crate) async fn make(&self, client: &Client, url: &str) -> Result<(), FloorError> {
        match self.variant {
            Variant::Product => {
                let options = StreamOptions::default();
                let failed = |e| FloorError::nats("the product's streams", e);
                let nats = Nats::connect(NatsOptions::new(url, "stepmill-floor")).await.map_err(failed)?;
                nats.ensure_streams(&options).await.map_err(failed)?;
                nats.ensure_pool(&self.pool, &options).await.map_err(failed)
            }
            Variant::Bare => {
                for (stream, subject) in [(BARE_TASKS, BARE_TASK), (BARE_RESULTS, BARE_RESULT)] {
                    let config = json!({
                        "name": stream, "subjects": [subject], "retention": "limits", "storage": "file", "num_replicas": 1,
                    });
                    call(client, &format!("STREAM.CREATE.{stream}"), &config).await?;
                }
                consumer(
                    client,
                    &self.tasks(),
                    &json!({
                        "durable_name": "floor", "ack_policy": "explicit", "deliver_policy": "all",
                        "ack_wait": ACK_WAIT_NANOS, "max_ack_pending": ACK_PENDING_MAX,
                    }),
                )
                .await
            }
        }
    }

    /// What the worker pulls from.
    pub(crate) fn tasks(&self) -> Source {
        match self.variant {
            Variant::Product => Source {
                stream: subject::tasks_stream(&self.pool),
                consumer: subject::tasks_consumer(&self.pool, Priority::default()),
            },
            Variant::Bare => Source { stream: BARE_TASKS.into(), consumer: "floor".into() },
        }
    }

    /// Makes the consumers of the results: what the coordinator pulls from.
    pub(crate) async fn results(&self, client: &Client) -> Result<Vec<Source>, FloorError> {
        match self.variant {
            Variant::Product => {
                let mut sources = Vec::new();
                for partition in 0..PARTITIONS {
                    let consumer_name = format!("floor-{partition}");
                    let source = Source { stream: subject::LOG_STREAM.into(), consumer: consumer_name.clone() };
                    // As the product's reader of the log has it.
                    let config = json!({
                        "name": consumer_name, "filter_subject": subject::log_of(partition_no(partition)),
                        "ack_policy": "none", "replay_policy": "instant", "deliver_policy": "by_start_sequence",
                        "opt_start_seq": 1, "mem_storage": true, "num_replicas": 1, "max_waiting": 16,
                        "inactive_threshold": 2 * ACK_WAIT_NANOS,
                    });
                    consumer(client, &source, &config).await?;
                    sources.push(source);
                }
                Ok(sources)
            }
            Variant::Bare => {
                let source = Source { stream: BARE_RESULTS.into(), consumer: "floor".into() };
                let config = json!({
                    "durable_name": "floor", "ack_policy": "explicit", "deliver_policy": "all",
                    "ack_wait": ACK_WAIT_NANOS, "max_ack_pending": ACK_PENDING_MAX,
                });
                consumer(client, &source, &config).await?;
                Ok(vec![source])
            }
        }
    }

    /// Which of [`Layout::results`] brings the results of this run.
    pub(crate) fn source_of(&self, mark: Mark) -> usize {
        match self.variant {
            Variant::Product => usize::from(mark.run_id().partition(PARTITIONS).0),
            Variant::Bare => 0,
        }
    }

    pub(crate) fn task_subject(&self) -> String {
        self.task.clone()
    }

    pub(crate) fn result_subject(&self, mark: Mark) -> String {
        match self.variant {
            Variant::Product => {
                let run = mark.run_id();
                let writer = LogWriter::Worker(self.pool.clone());
                LogSubject { partition: run.partition(PARTITIONS), run, writer }.render()
            }
            Variant::Bare => BARE_RESULT.into(),
        }
    }

    /// The message id of a task; results have none.
    pub(crate) fn task_headers(&self, mark: Mark) -> Option<HeaderMap> {
        match self.variant {
            Variant::Product => {
                let visit = Visit(u64::from(mark.done));
                let id = CommandId { run: mark.run_id(), visit, pass: Pass(0), dispatch: 1 };
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", id.to_string());
                Some(headers)
            }
            Variant::Bare => None,
        }
    }

    /// Whether results are acked by the coordinator.
    pub(crate) const fn acks_results(&self) -> bool {
        matches!(self.variant, Variant::Bare)
    }
}

const fn partition_no(number: u16) -> stepmill_protocol::PartitionNo {
    stepmill_protocol::PartitionNo(number)
}

async fn consumer(client: &Client, source: &Source, config: &Value) -> Result<(), FloorError> {
    let Source { stream, consumer } = source;
    let body = json!({ "stream_name": stream, "config": config, "action": "create" });
    call(client, &format!("CONSUMER.CREATE.{stream}.{consumer}"), &body).await
}

async fn call(client: &Client, verb: &str, body: &Value) -> Result<(), FloorError> {
    let failed = |reason: String| FloorError::nats(verb, reason);
    let answer = client.request(format!("$JS.API.{verb}"), body.to_string().into()).await;
    let answer = answer.map_err(|e| failed(e.to_string()))?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|e| failed(e.to_string()))?;
    match answer.get("error") {
        Some(error) => Err(failed(error.to_string())),
        None => Ok(()),
    }
}
