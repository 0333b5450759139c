//! Jobs submitted by publishing: inside one process nobody publishes, since the API is as near.

use std::time::Duration;

use async_trait::async_trait;

use crate::port::queue::{Job, Jobs, QueueError};

/// How long a call waits for a job that never comes.
const WAIT: Duration = Duration::from_secs(30);

/// A source without jobs.
pub(crate) struct NoJobs;

#[async_trait]
impl Jobs for NoJobs {
    async fn next(&self, _: usize) -> Result<Vec<Job>, QueueError> {
        tokio::time::sleep(WAIT).await;
        Ok(Vec::new())
    }

    async fn done(&self, _: &Job) -> Result<(), QueueError> {
        Ok(())
    }

    async fn later(&self, _: &Job, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }
}
