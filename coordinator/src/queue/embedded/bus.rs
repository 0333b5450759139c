//! The port `Bus` and the way to the API, inside one process: maps of who serves what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use stepmill_protocol::api::Folded;
use stepmill_protocol::codec::ContentType;
use stepmill_protocol::link::{ApiCaller, BoxFuture};
use stepmill_protocol::{Namespace, PartitionNo, Problem};
use tokio::sync::{oneshot, watch};

use crate::port::bus::{ApiHandler, Bus, Guard, OwnerAnswer, OwnerHandler, OwnerRequest, Waiting};

/// How long a call waits for a coordinator to serve the API.
const API_READY_WAIT: Duration = Duration::from_secs(5);

/// Who serves what in this process.
pub(crate) struct EmbeddedBus {
    shared: Arc<Shared>,
    api: watch::Sender<BTreeMap<u64, Arc<dyn ApiHandler>>>,
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<String, oneshot::Sender<Folded>>>,
    owners: Mutex<HashMap<PartitionNo, Serving>>,
}

/// An owner, and the number of its guard.
type Serving = (u64, Arc<dyn OwnerHandler>);

impl Default for EmbeddedBus {
    fn default() -> Self {
        Self { shared: Arc::default(), api: watch::Sender::new(BTreeMap::new()) }
    }
}

impl Shared {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::own("unavailable", 503, "Not available", detail)
}

/// Runs a handler to its end even if nobody waits for it any more, and takes a panic for an answer.
async fn run<T: Send + 'static>(handler: BoxFuture<'static, T>, timeout: Duration) -> Result<T, Problem> {
    match tokio::time::timeout(timeout, tokio::spawn(handler)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Problem::own("internal", 500, "Internal error", "the request's handler failed; see the log")),
        Err(_) => {
            let detail = format!("no answer within {} ms; try again", timeout.as_millis());
            Err(Problem::own("no-answer", 504, "No answer in time", detail))
        }
    }
}

#[async_trait]
impl Bus for EmbeddedBus {
    fn wait(&self) -> Waiting {
        let address = format!("local.{}", self.shared.number());
        let (answer, answered) = oneshot::channel();
        self.shared.waiting.lock().insert(address.clone(), answer);
        let (shared, forget) = (Arc::clone(&self.shared), address.clone());
        let gone = OnDrop(move || drop(shared.waiting.lock().remove(&forget)));
        let answer = Box::pin(async move {
            let _gone = gone;
            answered.await.map_err(|_| "the place of the answer was given up".to_owned())
        });
        Waiting { address, answer }
    }

    fn answer(&self, address: &str, folded: &Folded) {
        let waiting = self.shared.waiting.lock().remove(address);
        if let Some(waiting) = waiting {
            // Nobody waits any more: nothing to do.
            drop(waiting.send(folded.clone()));
        }
    }

    async fn serve_owner(&self, partition: PartitionNo, handler: Arc<dyn OwnerHandler>) -> Result<Guard, Problem> {
        let number = self.shared.number();
        self.shared.owners.lock().insert(partition, (number, handler));
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(OnDrop(move || {
            let mut owners = shared.owners.lock();
            if owners.get(&partition).is_some_and(|(known, _)| *known == number) {
                owners.remove(&partition);
            }
        })))
    }

    async fn ask_owner(
        &self,
        partition: PartitionNo,
        request: &OwnerRequest,
        timeout: Duration,
    ) -> Result<OwnerAnswer, Problem> {
        let owner = self.shared.owners.lock().get(&partition).map(|(_, handler)| Arc::clone(handler));
        let owner = owner.ok_or_else(|| unavailable(format!("partition {partition} has no owner yet; try again")))?;
        run(owner.handle(partition, request.clone()), timeout).await
    }

    async fn serve_api(&self, handler: Arc<dyn ApiHandler>) -> Result<Guard, Problem> {
        let number = self.shared.number();
        self.api.send_modify(|handlers| drop(handlers.insert(number, handler)));
        let api = self.api.clone();
        Ok(Box::new(OnDrop(move || api.send_modify(|handlers| drop(handlers.remove(&number))))))
    }
}

impl EmbeddedBus {
    /// Whether a partition's owner is in this process.
    pub(crate) fn has_owner(&self, partition: PartitionNo) -> bool {
        self.shared.owners.lock().contains_key(&partition)
    }

    /// The coordinator that began to serve last; waits for one.
    async fn api_handler(&self, wait: Duration) -> Result<Arc<dyn ApiHandler>, Problem> {
        let mut handlers = self.api.subscribe();
        let ready = tokio::time::timeout(wait, handlers.wait_for(|handlers| !handlers.is_empty())).await;
        let newest = ready.ok().and_then(Result::ok).and_then(|h| h.last_key_value().map(|(_, h)| Arc::clone(h)));
        newest.ok_or_else(|| unavailable("no coordinator serves the API in this process; start one, or try again"))
    }
}

impl ApiCaller for EmbeddedBus {
    fn call<'a>(
        &'a self,
        namespace: &'a Namespace,
        verb: &'a str,
        content: ContentType,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, Problem>> {
        Box::pin(async move {
            let begun = tokio::time::Instant::now();
            let handler = self.api_handler(timeout.min(API_READY_WAIT)).await?;
            let left = timeout.saturating_sub(begun.elapsed());
            run(handler.handle(namespace.clone(), verb.to_owned(), content, body), left).await?
        })
    }
}
