//! Jobs published to `SM_JOBS`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use stepmill_nats::{JobAck, JobSettler, Jobs as Intake, Nats};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{DeadLetter, Problem, RunId};
use tokio::sync::Mutex;

use super::error;
use crate::port::queue::{Job, Jobs, QueueError};

/// How long one look for jobs waits.
const WAIT: Duration = Duration::from_secs(5);

/// The intake of one coordinator.
pub struct NatsJobs {
    nats: Nats,
    intake: Mutex<Intake>,
    settler: JobSettler,
    /// Names the stream, so that a job without an id of its own can be told apart by its place.
    stream: String,
}

impl NatsJobs {
    /// Over this connection; the stream must exist.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn new(nats: Nats) -> Result<Self, QueueError> {
        let intake = Intake::new(nats.clone());
        let stream = intake.incarnation().await.map_err(error)?;
        Ok(Self { settler: intake.settler(), intake: Mutex::new(intake), nats, stream })
    }

    fn job(&self, job: stepmill_nats::Job) -> Result<Job, Box<stepmill_nats::Job>> {
        let Some((namespace, workflow)) = job.target.clone() else { return Err(Box::new(job)) };
        Ok(Job {
            namespace,
            workflow,
            key: Some(job.id.unwrap_or_else(|| format!("job {} {}", self.stream, job.seq))),
            input: job.content.read(&job.payload).map_err(|e| e.to_string()),
            ack: job.ack.into(),
        })
    }

    /// A message on a subject that names no workflow can never become a run.
    async fn put_aside(&self, job: &stepmill_nats::Job) -> Result<(), QueueError> {
        let detail = format!("`{}` is not `sm.job.<namespace>.<workflow>` with valid names", job.subject);
        let mut problem = Problem::standard(Standard::Validation, detail);
        problem.extra = Some(json!({ "subject": job.subject, "body": String::from_utf8_lossy(&job.payload) }));
        let run = RunId(uuid::Uuid::nil());
        let letter = DeadLetter { pool: None, run, problem, task: None, record: None, deliveries: job.deliveries };
        self.nats.bury(&letter).await.map_err(error)?;
        self.settler.ack(&job.ack).await.map_err(error)
    }
}

#[async_trait]
impl Jobs for NatsJobs {
    async fn next(&self, max: usize) -> Result<Vec<Job>, QueueError> {
        let batch = self.intake.lock().await.next_batch(max, WAIT).await.map_err(error)?;
        let mut jobs = Vec::with_capacity(batch.len());
        for arrived in batch {
            match self.job(arrived) {
                Ok(job) => jobs.push(job),
                Err(stray) => {
                    if let Err(error) = self.put_aside(&stray).await {
                        tracing::warn!(subject = stray.subject, %error, "a stray job stays in the queue");
                    }
                }
            }
        }
        Ok(jobs)
    }

    async fn done(&self, job: &Job) -> Result<(), QueueError> {
        self.settler.ack(&JobAck::from(job.ack.clone())).await.map_err(error)
    }

    async fn later(&self, job: &Job, delay: Duration) -> Result<(), QueueError> {
        self.settler.nak(&JobAck::from(job.ack.clone()), delay).await.map_err(error)
    }
}
