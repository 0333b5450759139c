//! Signs of progress, on a connection of their own: whatever blocks the worker's other threads does not silence them.

use std::time::Duration;

use bytes::Bytes;
use stepmill_protocol::link::{AckId, BoxFuture, Heartbeat};
use stepmill_protocol::{PoolName, Priority};

use crate::connect::Nats;
use crate::error::NatsError;

const PROGRESS: Bytes = Bytes::from_static(b"+WPI");
/// How long the signs may take to be written; later ones are due by then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// Tells the broker that tasks are still worked on.
#[derive(Debug)]
pub(crate) struct NatsHeartbeat {
    nats: Nats,
    ack_wait: Duration,
}

impl NatsHeartbeat {
    /// Opens a connection that lives on the calling runtime.
    pub(crate) async fn open(nats: &Nats, pool: &PoolName) -> Result<Self, NatsError> {
        let nats = nats.connect_another("heartbeat").await?;
        let ack_wait = nats.ack_wait(pool, Priority::default()).await?;
        Ok(Self { nats, ack_wait })
    }
}

impl Heartbeat for NatsHeartbeat {
    fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    fn progress<'a>(&'a mut self, acks: &'a [AckId]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let client = &self.nats.inner.client;
            let send = async {
                for ack in acks {
                    client.publish(ack.0.clone(), PROGRESS).await.map_err(|e| e.to_string())?;
                }
                // The thread may sleep right after; what is not written by then would come late.
                client.flush().await.map_err(|e| e.to_string())
            };
            match tokio::time::timeout(WRITTEN_WITHIN, send).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot tell the broker that tasks are worked on"),
                Err(_) => tracing::warn!("the broker did not take the signs of progress in time"),
            }
        })
    }
}
