//! What coordinators answer: the API as a micro service, questions to the owner of a partition, and workers that wait
//! for their pool's queue. Each runs in tasks of its own until its [`Serving`] is dropped or drained.

use std::sync::Arc;
use std::time::Duration;

use async_nats::service::ServiceExt;
use async_nats::{HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use stepmill_protocol::codec::{ContentType, pack, unpack};
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::{Problem, Standard};
use stepmill_protocol::{AskAnswer, AskRequest, Namespace, PartitionNo, PoolName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::connect::Nats;
use crate::error::NatsError;
use crate::publish::header_value;
use crate::subject;
use crate::tasks::TaskQueues;

/// Calls of the API that one coordinator works on (most of them wait for a run); further ones are told to come back.
const API_CALLS_MAX: usize = 8_192;
/// Questions to the owner of one partition that are worked on; further ones wait.
const OWNER_CALLS_MAX: usize = 4_096;

pub(crate) const CONTENT_TYPE_HEADER: &str = "Content-Type";
pub(crate) const ERROR_HEADER: &str = "Nats-Service-Error";
pub(crate) const ERROR_CODE_HEADER: &str = "Nats-Service-Error-Code";

/// One call of the API.
#[derive(Clone, Debug)]
pub struct ApiCall {
    /// The tenant.
    pub namespace: Namespace,
    /// What to do.
    pub verb: String,
    /// How the body is to be read and the answer to be written.
    pub content: ContentType,
    /// The body.
    pub body: Bytes,
}

/// Answers calls of the API.
pub trait ApiHandler: Send + Sync + 'static {
    /// Answers one call in the encoding that it came in.
    fn call(&self, call: ApiCall) -> BoxFuture<'_, Result<Vec<u8>, Problem>>;
}

/// Answers for the owner of a partition. None: not the owner any more; nobody answers then, and the asker tries again.
pub trait OwnerHandler: Send + Sync + 'static {
    /// A worker's question.
    fn ask(&self, partition: PartitionNo, pool: PoolName, request: AskRequest) -> BoxFuture<'_, Option<AskAnswer>>;

    /// Another coordinator's question; the bytes are the coordinators' own affair.
    fn own(&self, partition: PartitionNo, body: Bytes) -> BoxFuture<'_, Option<Vec<u8>>>;
}

/// Something that is answered until this is dropped (calls under way are finished then, unawaited).
#[derive(Debug)]
pub struct Serving {
    /// Dropping one is a stop, too.
    stops: Vec<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
    calls: Arc<Semaphore>,
    calls_max: usize,
}

impl Serving {
    fn new(calls_max: usize) -> Self {
        Self { stops: Vec::new(), tasks: Vec::new(), calls: Arc::new(Semaphore::new(calls_max)), calls_max }
    }

    fn add<F: Future<Output = ()> + Send + 'static>(&mut self, start: impl FnOnce(oneshot::Receiver<()>) -> F) {
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        self.tasks.push(tokio::spawn(start(stopped)));
    }

    /// Takes nothing new, and waits up to `within` for the calls under way.
    pub async fn drain(mut self, within: Duration) {
        for stop in self.stops.drain(..) {
            // Gone already: the connection was closed.
            let _ = stop.send(());
        }
        let all = u32::try_from(self.calls_max).unwrap_or(u32::MAX);
        let finish = async {
            for task in &mut self.tasks {
                let _ = task.await;
            }
            let _ = self.calls.acquire_many(all).await;
        };
        if tokio::time::timeout(within, finish).await.is_err() {
            tracing::warn!("calls were still under way when the time to finish them was over");
        }
    }
}

impl Nats {
    /// Serves `sm.api.*.*` as the micro service `stepmill`, sharing the calls with all other coordinators.
    ///
    /// # Errors
    /// [`NatsError`] when the subscriptions cannot be made.
    pub async fn serve_api(&self, handler: Arc<dyn ApiHandler>) -> Result<Serving, NatsError> {
        let builder = self.inner.client.service_builder().description("Stepmill's API: sm.api.<namespace>.<verb>");
        let started =
            builder.queue_group(subject::QUEUE_GROUP).start(subject::SERVICE, env!("CARGO_PKG_VERSION")).await;
        let service = started.map_err(|e| NatsError::interrupted("the micro service", e.to_string()))?;
        let added = service.endpoint_builder().name("api").add(subject::API_ALL).await;
        let mut endpoint = added.map_err(|e| NatsError::interrupted("the micro service", e.to_string()))?;
        let mut serving = Serving::new(API_CALLS_MAX);
        let (nats, calls) = (self.clone(), Arc::clone(&serving.calls));
        serving.add(|mut stopped| async move {
            let mut draining = false;
            loop {
                let request = tokio::select! {
                    request = endpoint.next() => request,
                    _ = &mut stopped, if !draining => {
                        draining = true;
                        let _ = endpoint.stop().await;
                        continue;
                    }
                };
                let Some(request) = request else { break };
                let permit = Arc::clone(&calls).try_acquire_owned().ok();
                let (nats, handler) = (nats.clone(), Arc::clone(&handler));
                tokio::spawn(async move { answer_api(&nats, &*handler, permit, request).await });
            }
            // Until here it answered the questions about the service itself.
            let _ = service.stop().await;
        });
        Ok(serving)
    }

    /// Answers what workers and coordinators ask the owner of a partition. Only the owner calls this.
    ///
    /// # Errors
    /// [`NatsError`] when the subscriptions cannot be made.
    pub async fn serve_partition(
        &self,
        partition: PartitionNo,
        handler: Arc<dyn OwnerHandler>,
    ) -> Result<Serving, NatsError> {
        let asks = self.subscribe(subject::asks_of(partition)).await?;
        let owns = self.subscribe(subject::own(partition)).await?;
        // The asker of a question before this moment was told that nobody answers; from now on there is somebody.
        self.settled().await?;
        let mut serving = Serving::new(OWNER_CALLS_MAX);
        let (nats, calls, handler_) = (self.clone(), Arc::clone(&serving.calls), Arc::clone(&handler));
        serving.add(|stopped| {
            each(asks, stopped, calls, move |message| {
                let (nats, handler) = (nats.clone(), Arc::clone(&handler_));
                async move { answer_ask(&nats, partition, &*handler, message).await }
            })
        });
        // Of their own: whoever waits for a run holds one for as long as that takes.
        let (nats, waits) = (self.clone(), Arc::new(Semaphore::new(OWNER_CALLS_MAX)));
        serving.add(|stopped| {
            each(owns, stopped, waits, move |message| {
                let (nats, handler) = (nats.clone(), Arc::clone(&handler));
                async move {
                    if let (Some(reply), Some(body)) = (message.reply, handler.own(partition, message.payload).await) {
                        answer(&nats, &reply, body).await;
                    }
                }
            })
        });
        Ok(serving)
    }

    /// Makes the queue of a pool when a worker announces that it waits for it.
    ///
    /// # Errors
    /// [`NatsError`] when the subscription cannot be made.
    pub async fn serve_joins(&self, queues: TaskQueues) -> Result<Serving, NatsError> {
        let joins = self.inner.client.queue_subscribe(subject::JOIN_ALL, subject::QUEUE_GROUP.into()).await;
        let joins = joins.map_err(|e| NatsError::interrupted("a subscription", e.to_string()))?;
        let mut serving = Serving::new(OWNER_CALLS_MAX);
        let (nats, calls) = (self.clone(), Arc::clone(&serving.calls));
        serving.add(|stopped| {
            each(joins, stopped, calls, move |message| {
                let (nats, queues) = (nats.clone(), queues.clone());
                async move {
                    let (Some(pool), Some(reply)) = (subject::parse_ask(&message.subject), message.reply) else {
                        return;
                    };
                    match queues.ensure(&pool).await {
                        Ok(()) => answer(&nats, &reply, Vec::new()).await,
                        Err(error) => tracing::warn!(%pool, %error, "cannot make the queue that a worker waits for"),
                    }
                }
            })
        });
        Ok(serving)
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber, NatsError> {
        let subscribed = self.inner.client.subscribe(subject).await;
        subscribed.map_err(|e| NatsError::interrupted("a subscription", e.to_string()))
    }
}

/// Works on each message in a task of its own, up to the number of permits at a time.
async fn each<F>(
    mut messages: Subscriber,
    mut stopped: oneshot::Receiver<()>,
    calls: Arc<Semaphore>,
    work: impl Fn(Message) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut draining = false;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            _ = &mut stopped, if !draining => {
                draining = true;
                if messages.drain().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(message) = message else { return };
        let Ok(permit) = Arc::clone(&calls).acquire_owned().await else { return };
        let work = work(message);
        tokio::spawn(async move {
            work.await;
            drop(permit);
        });
    }
}

async fn answer(nats: &Nats, reply: &Subject, body: Vec<u8>) {
    if let Err(error) = nats.publish(reply, body).await {
        tracing::warn!(%error, "an answer could not be sent");
    }
}

async fn answer_ask(nats: &Nats, partition: PartitionNo, handler: &dyn OwnerHandler, message: Message) {
    let (Some(pool), Some(reply)) = (subject::parse_ask(&message.subject), message.reply) else { return };
    let given = match unpack(&message.payload) {
        Ok(request) => handler.ask(partition, pool, request).await,
        Err(e) => Some(AskAnswer::Refused(Problem::standard(Standard::Validation, e.to_string()))),
    };
    match given.as_ref().map(pack) {
        Some(Ok(body)) => answer(nats, &reply, body).await,
        Some(Err(error)) => tracing::error!(%error, "the answer to a worker cannot be written"),
        None => {}
    }
}

async fn answer_api(
    nats: &Nats,
    handler: &dyn ApiHandler,
    permit: Option<OwnedSemaphorePermit>,
    request: async_nats::service::Request,
) {
    let content_type = request.message.headers.as_ref().and_then(|h| h.get(CONTENT_TYPE_HEADER));
    let content = ContentType::from_header(content_type.map(async_nats::HeaderValue::as_str));
    let result = match (&permit, api_call(&request.message, content)) {
        (None, _) => Err(too_many()),
        (Some(_), Err(problem)) => Err(problem),
        (Some(_), Ok(call)) => handler.call(call).await,
    };
    let max = nats.max_payload();
    let result = result.and_then(|body| if body.len() > max { Err(too_large(body.len(), max)) } else { Ok(body) });
    let sent = match result {
        Ok(body) => {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE_HEADER, content.as_str());
            request.respond_with_headers(Ok(body.into()), headers).await.map_err(|e| e.to_string())
        }
        Err(problem) => match &request.message.reply {
            Some(reply) => answer_problem(nats, reply, &problem).await,
            None => Ok(()),
        },
    };
    if let Err(error) = sent {
        tracing::debug!(error, "the answer to a call could not be sent");
    }
}

fn api_call(message: &Message, content: ContentType) -> Result<ApiCall, Problem> {
    let (namespace, verb) = subject::parse_api(&message.subject)
        .ok_or_else(|| Problem::standard(Standard::Validation, "the subject must be sm.api.<namespace>.<verb>"))?;
    let namespace = namespace
        .parse()
        .map_err(|e: stepmill_protocol::id::InvalidId| Problem::standard(Standard::Validation, e.to_string()))?;
    Ok(ApiCall { namespace, verb: verb.into(), content, body: message.payload.clone() })
}

/// A problem is always JSON, so that people without our client can read it. The service's own way of answering errors
/// leaves the body empty.
async fn answer_problem(nats: &Nats, reply: &Subject, problem: &Problem) -> Result<(), String> {
    let body = serde_json::to_vec(problem).map_err(|e| e.to_string())?;
    let title: String = problem.title.chars().filter(|c| !c.is_control()).collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE_HEADER, "application/problem+json");
    headers.insert(ERROR_CODE_HEADER, header_value(&problem.status.to_string()).map_err(|e| e.to_string())?);
    headers.insert(ERROR_HEADER, header_value(&title).map_err(|e| e.to_string())?);
    let client = &nats.inner.client;
    client.publish_with_headers(reply.clone(), headers, body.into()).await.map_err(|e| e.to_string())
}

fn too_many() -> Problem {
    let detail = format!("this coordinator works on {API_CALLS_MAX} calls already; try again shortly");
    Problem::own("too-many-calls", 429, "Too many calls", detail)
}

fn too_large(bytes: usize, max: usize) -> Problem {
    let detail = format!("the answer has {bytes} bytes, the server takes {max}; ask for less at a time");
    Problem::own("answer-too-large", 413, "Answer too large", detail)
}
