//! The API: one handler per verb, the same for NATS, HTTP and in-process callers. Whatever changes a run is appended to the log; the
//! answer is the owner's, given after its commit.

mod change;
mod define;
mod event;
mod life;
mod read;
mod schedule;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use stepmill_protocol::api::{Folded, verb};
use stepmill_protocol::codec::{CodecError, ContentType};
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{Event, LogRecord, Namespace, Problem, RunId};

use crate::port::bus::ApiHandler;
use crate::port::queue::QueueError;
use crate::port::store::StoreError;
use crate::shared::Shared;

pub(crate) use event::take_in;
pub(crate) use submit::{NewRun, start_run, start_run_ended};

/// How long a caller waits for the owner's answer. A takeover takes at most three seconds.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// The API of one coordinator.
pub(crate) struct Api {
    shared: Arc<Shared>,
}

impl Api {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared })
    }
}

impl ApiHandler for Api {
    fn handle(
        &self,
        namespace: Namespace,
        verb: String,
        content: ContentType,
        body: Vec<u8>,
    ) -> BoxFuture<'static, Result<Vec<u8>, Problem>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            // A body of white space is an empty request.
            let body = if body.iter().all(u8::is_ascii_whitespace) {
                content.write(&Empty {}).map_err(bad_body)?
            } else {
                body
            };
            let s = shared.as_ref();
            match verb.as_str() {
                verb::DEFINE => reply(content, define::define(s, &namespace, read(content, &body)?).await?),
                verb::SUBMIT => reply(content, submit::submit(s, &namespace, read(content, &body)?).await?),
                verb::GET => reply(content, read::get(s, &namespace, read(content, &body)?, false).await?),
                verb::RESULT => reply(content, read::get(s, &namespace, read(content, &body)?, true).await?),
                verb::LIST => reply(content, read::list(s, &namespace, read(content, &body)?).await?),
                verb::HISTORY => reply(content, read::history(s, &namespace, read(content, &body)?).await?),
                verb::LIFE => reply(content, life::life(s, &namespace, read(content, &body)?).await?),
                verb::CANCEL => reply(content, change::cancel(s, &namespace, read(content, &body)?).await?),
                verb::SIGNAL => reply(content, change::signal(s, &namespace, read(content, &body)?).await?),
                verb::EVENT => reply(content, event::take_in(s, &namespace, read(content, &body)?).await?),
                other => Err(Problem::own(
                    "unknown-verb",
                    404,
                    "Unknown verb",
                    format!("`{other}` is not a verb of the API; there are: {}", verb::ALL.join(", ")),
                )),
            }
        })
    }
}

#[derive(Serialize)]
struct Empty {}

fn read<T: serde::de::DeserializeOwned>(content: ContentType, body: &[u8]) -> Result<T, Problem> {
    content.read(body).map_err(bad_body)
}

fn reply<T: Serialize>(content: ContentType, value: T) -> Result<Vec<u8>, Problem> {
    content.write(&value).map_err(|e| Problem::standard(Standard::Runtime, e.to_string()))
}

fn bad_body(e: CodecError) -> Problem {
    Problem::standard(
        Standard::Validation,
        format!("the request's body is not as expected ({}): {}", e.format, e.reason),
    )
}

pub(crate) fn not_found(run: RunId) -> Problem {
    let detail =
        format!("there is no run {run} in this namespace; a finished run leaves the store after its retention");
    Problem::own("not-found", 404, "Not found", detail)
}

pub(crate) fn store_problem(e: StoreError) -> Problem {
    match e {
        StoreError::Refused(why) => Problem::standard(Standard::Runtime, why).with_status(507),
        StoreError::Stale(_) | StoreError::Unavailable(_) => {
            Problem::standard(Standard::Communication, format!("{e}; try again")).with_status(503)
        }
        StoreError::Corrupt(_) => Problem::standard(Standard::Runtime, e.to_string()),
    }
}

pub(crate) fn queue_problem(e: QueueError) -> Problem {
    let status = if e.retryable { 503 } else { 500 };
    Problem::standard(Standard::Communication, e.message).with_status(status)
}

/// Appends a record and waits for the owner's answer to it. A problem with status 504 when none came: the record is in the log and will
/// be folded, but what came of it is not known here.
pub(crate) async fn append_and_wait(shared: &Shared, run: RunId, event: Event) -> Result<Folded, Problem> {
    let waiting = shared.ports.bus.wait();
    let record = LogRecord { run, event, reply: Some(waiting.address.clone()) };
    let partition = run.partition(shared.partitions);
    shared.ports.log.append(partition, std::slice::from_ref(&record)).await.map_err(queue_problem)?;
    match tokio::time::timeout(ANSWER_WAIT, waiting.answer).await {
        Ok(Ok(folded)) => Ok(folded),
        Ok(Err(_)) | Err(_) => Err(Problem::standard(
            Standard::Timeout,
            "it is in the log and will be done, but its owner has not said so in time; look with `get`, or call again with the same key",
        )
        .with_status(504)),
    }
}
