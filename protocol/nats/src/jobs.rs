//! Intake of submissions by plain publish (`sm.job.<namespace>.<workflow>`).

use std::time::Duration;

use bytes::Bytes;
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::{Namespace, WorkflowName};

use crate::connect::{ANSWER_WITHIN, Nats};
use crate::error::NatsError;
use crate::publish::MESSAGE_ID_HEADER;
use crate::pull::{Arrived, NAK, Puller};
use crate::subject;

/// A submission.
#[derive(Clone, Debug)]
pub struct Job {
    /// The tenant and the workflow; none where the subject holds no valid names.
    pub target: Option<(Namespace, WorkflowName)>,
    /// The subject that it was published on.
    pub subject: String,
    /// The client's message id: its idempotency key.
    pub id: Option<String>,
    /// How the body is to be read.
    pub content: ContentType,
    /// The input.
    pub payload: Bytes,
    /// How often it has been delivered, this time included.
    pub deliveries: u64,
    /// Its sequence in the stream; with the stream's incarnation it can stand for a missing id.
    pub seq: u64,
    /// The handle for settling it.
    pub ack: JobAck,
}

/// The handle of a delivered job.
#[derive(Clone, Debug)]
pub struct JobAck(String);

impl From<String> for JobAck {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<JobAck> for String {
    fn from(ack: JobAck) -> Self {
        ack.0
    }
}

/// Takes jobs in; any number of coordinators share them.
#[derive(Debug)]
pub struct Jobs {
    nats: Nats,
    puller: Puller,
}

impl Jobs {
    /// Intake over this connection.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        let puller = Puller::new(&nats, subject::JOBS_STREAM, vec![subject::JOBS_CONSUMER.into()], 0);
        Self { nats, puller }
    }

    /// Up to `max` jobs; waits up to `wait` for the first. Cancel safe.
    ///
    /// # Errors
    /// [`NatsError`] when the stream is gone or the broker does not answer.
    pub async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<Job>, NatsError> {
        let arrived = self.puller.fetch(max, wait).await?;
        Ok(arrived.into_iter().map(job).collect())
    }

    /// Which stream the jobs come from: another text means another stream.
    ///
    /// # Errors
    /// [`NatsError`] when there is no such stream or the broker does not answer.
    pub async fn incarnation(&self) -> Result<String, NatsError> {
        Ok(self.nats.stream_state(subject::JOBS_STREAM).await?.incarnation)
    }

    /// The handle that settles jobs, to be used while the next batch is awaited.
    #[must_use]
    pub fn settler(&self) -> JobSettler {
        JobSettler { nats: self.nats.clone() }
    }
}

/// Settles jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobSettler {
    nats: Nats,
}

impl JobSettler {
    /// It became a run: remove it. Resolves when the broker confirms.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm; it may be delivered again then.
    pub async fn ack(&self, ack: &JobAck) -> Result<(), NatsError> {
        self.settle(ack, b"+ACK".to_vec()).await
    }

    /// Deliver it again after `delay`.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm; it is delivered again in any case.
    pub async fn nak(&self, ack: &JobAck, delay: Duration) -> Result<(), NatsError> {
        let body = if delay.is_zero() {
            NAK.to_vec()
        } else {
            format!("-NAK {{\"delay\":{}}}", crate::wire::nanos(delay)).into_bytes()
        };
        self.settle(ack, body).await
    }

    /// It can never become a run: remove it.
    ///
    /// # Errors
    /// [`NatsError`] when the broker did not confirm; it may be delivered again then.
    pub async fn term(&self, ack: &JobAck) -> Result<(), NatsError> {
        self.settle(ack, b"+TERM".to_vec()).await
    }

    async fn settle(&self, ack: &JobAck, body: Vec<u8>) -> Result<(), NatsError> {
        self.nats.request(&ack.0, body, ANSWER_WITHIN).await.map(drop)
    }
}

fn job(arrived: Arrived) -> Job {
    let Arrived { message, ack, deliveries, seq, .. } = arrived;
    let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(ToString::to_string);
    Job {
        target: subject::parse_job(&message.subject),
        subject: message.subject.to_string(),
        id: header(MESSAGE_ID_HEADER),
        content: ContentType::from_header(header("Content-Type").as_deref()),
        payload: message.payload.clone(),
        deliveries,
        seq,
        ack: JobAck(ack.to_string()),
    }
}
