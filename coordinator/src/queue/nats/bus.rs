//! Short-lived messages over core NATS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stepmill_nats::{ApiCall, Nats, NatsError};
use stepmill_protocol::api::Folded;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{AskAnswer, AskRequest, PartitionNo, PoolName, Problem, codec};
use tokio::sync::mpsc;

use crate::port::bus::{ApiHandler, Bus, Guard, OwnerAnswer, OwnerHandler, OwnerRequest, Waiting};
use crate::queue::embedded::EmbeddedBus;

/// The longest that somebody waits for the owner's answer to a record.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The bus that this connection reaches. What stays within this process takes no way over the broker.
pub struct NatsBus {
    nats: Nats,
    /// The owners in this process.
    near: EmbeddedBus,
    /// Answers on their way out, in order; bounded by the records of the batches just committed.
    answers: mpsc::UnboundedSender<(String, Bytes)>,
}

impl NatsBus {
    /// Over this connection. Must be called in a runtime.
    #[must_use]
    pub fn new(nats: Nats) -> Self {
        let (answers, mut outgoing) = mpsc::unbounded_channel::<(String, Bytes)>();
        let connection = nats.clone();
        tokio::spawn(async move {
            while let Some((address, body)) = outgoing.recv().await {
                if let Err(error) = connection.publish(&address, body).await {
                    tracing::debug!(%error, "an answer could not be sent; whoever waits looks for himself");
                }
            }
        });
        Self { nats, near: EmbeddedBus::default(), answers }
    }
}

fn subject_of_owner(partition: PartitionNo) -> String {
    stepmill_nats::subject::own(partition)
}

fn problem(e: &NatsError) -> Problem {
    Problem::standard(Standard::Communication, e.to_string()).with_status(503)
}

struct Owner(Arc<dyn OwnerHandler>);

impl stepmill_nats::OwnerHandler for Owner {
    fn ask(&self, partition: PartitionNo, _: PoolName, request: AskRequest) -> BoxFuture<'_, Option<AskAnswer>> {
        let answer = self.0.handle(partition, OwnerRequest::Ask(request));
        Box::pin(async move {
            match answer.await {
                OwnerAnswer::Ask(answer) => Some(answer),
                OwnerAnswer::Seen | OwnerAnswer::Ended(_) => None,
            }
        })
    }

    fn own(&self, partition: PartitionNo, body: Bytes) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let request = codec::unpack(&body)
                .inspect_err(|error| tracing::warn!(%partition, %error, "a question to the owner cannot be read"))
                .ok()?;
            let answer = match self.0.handle(partition, request).await {
                // Coordinators of an earlier release know nothing else.
                OwnerAnswer::Ended(_) => OwnerAnswer::Seen,
                answer @ (OwnerAnswer::Ask(_) | OwnerAnswer::Seen) => answer,
            };
            codec::pack(&answer)
                .inspect_err(|error| tracing::error!(%partition, %error, "the owner's answer cannot be written"))
                .ok()
        })
    }
}

struct Api(Arc<dyn ApiHandler>);

impl stepmill_nats::ApiHandler for Api {
    fn call(&self, call: ApiCall) -> BoxFuture<'_, Result<Vec<u8>, Problem>> {
        let ApiCall { namespace, verb, content, body } = call;
        self.0.handle(namespace, verb, content, body.to_vec())
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn wait(&self) -> Waiting {
        let (address, reply) = self.nats.expect_reply();
        let answer = Box::pin(async move {
            let bytes = reply.within(ANSWER_WITHIN).await.map_err(|e| e.to_string())?;
            codec::unpack(&bytes).map_err(|e| e.to_string())
        });
        Waiting { address, answer }
    }

    fn answer(&self, address: &str, folded: &Folded) {
        let body = match codec::pack(folded) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                return;
            }
        };
        if let Some(body) = self.nats.answer_here(address, body) {
            // Gone only with the runtime.
            self.answers.send((address.to_owned(), body)).ok();
        }
    }

    async fn serve_owner(&self, partition: PartitionNo, handler: Arc<dyn OwnerHandler>) -> Result<Guard, Problem> {
        let near = self.near.serve_owner(partition, Arc::clone(&handler)).await?;
        let serving = self.nats.serve_partition(partition, Arc::new(Owner(handler))).await;
        serving.map(|far| Box::new((near, far)) as Guard).map_err(|e| problem(&e))
    }

    async fn ask_owner(
        &self,
        partition: PartitionNo,
        request: &OwnerRequest,
        timeout: Duration,
    ) -> Result<OwnerAnswer, Problem> {
        if self.near.has_owner(partition) {
            return self.near.ask_owner(partition, request, timeout).await;
        }
        let bad = |e: codec::CodecError| Problem::standard(Standard::Runtime, e.to_string());
        let body = codec::pack(request).map_err(bad)?;
        let answer = self.nats.request(&subject_of_owner(partition), body, timeout).await.map_err(|e| problem(&e))?;
        codec::unpack(&answer).map_err(bad)
    }

    async fn serve_api(&self, handler: Arc<dyn ApiHandler>) -> Result<Guard, Problem> {
        let serving = self.nats.serve_api(Arc::new(Api(handler))).await;
        serving.map(|s| Box::new(s) as Guard).map_err(|e| problem(&e))
    }
}
