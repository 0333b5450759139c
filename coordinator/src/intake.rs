//! Jobs that were submitted by publishing: each becomes a run as if `submit` had been called, and is acked once that is committed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{DeadLetter, Problem, RunId};
use tokio_util::sync::CancellationToken;

use crate::api::{NewRun, start_run};
use crate::port::queue::{Job, Jobs};
use crate::shared::Shared;

/// Jobs under way at a time.
const JOBS_MAX: usize = 512;
/// A job that cannot be started now is tried again after this.
const LATER: Duration = Duration::from_secs(1);

/// Takes jobs in until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, jobs: Arc<dyn Jobs>, stop: CancellationToken) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let room = JOBS_MAX - under_way.len();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(()) = under_way.next() => {}
            taken = jobs.next(room), if room > 0 => match taken {
                Ok(batch) => under_way.extend(batch.into_iter().map(|job| take(shared.clone(), jobs.clone(), job))),
                Err(error) => {
                    tracing::warn!(%error, "cannot take jobs; trying again");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(LATER) => {}
                    }
                }
            },
        }
    }
    // Those under way are finished; an unfinished one would be given out again.
    while under_way.next().await.is_some() {}
}

async fn take(shared: Arc<Shared>, jobs: Arc<dyn Jobs>, job: Job) {
    let settled = match start(&shared, &job).await {
        Ok(()) => jobs.done(&job).await,
        Err(problem) if is_final(&problem) => match bury(&shared, &job, problem).await {
            Ok(()) => jobs.done(&job).await,
            Err(error) => {
                tracing::warn!(%error, "a job cannot be put to the dead letters; trying again");
                jobs.later(&job, LATER).await
            }
        },
        Err(problem) => {
            tracing::warn!(workflow = %job.workflow, %problem, "a job cannot be started now; trying again");
            jobs.later(&job, LATER).await
        }
    };
    if let Err(error) = settled {
        // It comes again, with the same key: one run.
        tracing::debug!(%error, "a job was not settled");
    }
}

async fn start(shared: &Shared, job: &Job) -> Result<(), Problem> {
    let input = job.input.clone().map_err(|reason| Problem::standard(Standard::Validation, reason))?;
    let new =
        NewRun { workflow: job.workflow.clone(), version: None, input, key: job.key.clone(), run: None, parent: None };
    start_run(shared, &job.namespace, new).await.map(|_| ())
}

/// Whether trying again is of no use: the caller's mistake, not ours. A workflow that is not registered (404) may be soon, but a
/// publisher cannot be told otherwise.
fn is_final(problem: &Problem) -> bool {
    (400..500).contains(&problem.status) && problem.status != 408
}

async fn bury(shared: &Shared, job: &Job, problem: Problem) -> Result<(), crate::port::queue::QueueError> {
    tracing::error!(workflow = %job.workflow, namespace = %job.namespace, %problem, "a job goes to the dead letters");
    let run = match &job.key {
        Some(key) => RunId::derived(&job.namespace, &job.workflow, key),
        None => RunId(uuid::Uuid::nil()),
    };
    let mut problem = problem;
    problem.extra = Some(serde_json::json!({
        "namespace": job.namespace, "workflow": job.workflow, "key": job.key,
        "input": job.input.as_ref().ok(),
    }));
    let letter = DeadLetter { pool: None, run, problem, task: None, record: None, deliveries: 1 };
    shared.ports.archive.bury(&letter).await
}
