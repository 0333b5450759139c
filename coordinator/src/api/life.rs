//! `life`: a run's life-cycle events from its beginning on, made again from what the log holds. Nothing is stored for it: the engine
//! gives the same answer to the same records, so these are the very events that were told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stepmill_definition::plan::Plan;
use stepmill_engine::{Run, Told, advance_telling};
use stepmill_protocol::api::{LifeRequest, LifeResponse};
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{CloudEvent, Event, LogRecord, Namespace, Problem, limit};

use super::queue_problem;
use super::read::load;
use crate::partition::admissible;
use crate::port::queue::LogMessage;
use crate::shared::Shared;

const EVENTS: usize = 100;
/// Records read at a time.
const PAGE: usize = 500;

pub(super) async fn life(
    shared: &Shared,
    namespace: &Namespace,
    request: LifeRequest,
) -> Result<LifeResponse, Problem> {
    let LifeRequest { run: id, after, limit } = request;
    let limit = limit.unwrap_or(EVENTS).clamp(1, limit::LIST_PAGE_MAX);
    // What is in the log but not committed has not happened yet.
    let committed = load(shared, namespace, id).await?;
    let plan = shared.plans.get(committed.digest()).await.map_err(|e| {
        let detail = format!("the definition of run {id} cannot be had: {e}");
        Problem::standard(Standard::Configuration, detail)
    })?;
    let after = after.unwrap_or_default();
    let mut again = Again { plan: &plan, until: committed.rev(), run: None, events: Vec::new() };
    let (mut position, mut read) = (0, 0);
    loop {
        let log = &shared.ports.log;
        let page = log.history(id.partition(shared.partitions), id, position, PAGE).await.map_err(queue_problem)?;
        let Some(last) = page.last() else { break };
        position = last.seq;
        if read == 0 && !begins(&page) {
            let detail = format!("the beginning of run {id} has left the log; what is told from now on can be heard");
            return Err(Problem::own("gone", 410, "Gone", detail));
        }
        read += page.len();
        if read > limit::LIFE_RECORDS_MAX {
            let max = limit::LIFE_RECORDS_MAX;
            let detail = format!(
                "run {id} has more than {max} records in the log (LIFE_RECORDS_MAX); hear its events while it runs"
            );
            return Err(Problem::own("too-long", 413, "Too long", detail));
        }
        for message in page {
            again.fold(message, &after)?;
        }
        if again.is_over() || again.events.len() >= limit {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut events = again.events;
    events.truncate(limit);
    Ok(LifeResponse { events })
}

/// Whether a run's first record is there.
fn begins(page: &[LogMessage]) -> bool {
    matches!(page.first().map(|m| &m.record), Some(Ok(LogRecord { event: Event::Submitted(_), .. })))
}

/// A run that is folded again.
struct Again<'p> {
    plan: &'p Plan,
    /// The revision that is committed.
    until: u64,
    run: Option<Run>,
    events: Vec<CloudEvent>,
}

impl Again<'_> {
    fn is_over(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.rev() >= self.until)
    }

    fn fold(&mut self, message: LogMessage, after: &str) -> Result<(), Problem> {
        if self.is_over() {
            return Ok(());
        }
        let LogMessage { at, source, run: id, record, .. } = message;
        // The owner has passed these over, too.
        let Ok(LogRecord { event, .. }) = record.as_ref().map_err(|_| ()).cloned() else { return Ok(()) };
        if record.is_ok_and(|record| admissible(&source, id, &record).is_err()) {
            return Ok(());
        }
        let run = self.run.take();
        let folded = catch_unwind(AssertUnwindSafe(|| advance_telling(self.plan, id, run, at, &event)));
        let (outcome, told) = folded.map_err(|_| {
            let detail =
                format!("run {id} has an event that cannot be folded; what came before it can be seen with `history`");
            Problem::standard(Standard::Runtime, detail)
        })?;
        self.run = outcome.run;
        for event in told.iter().flat_map(Told::events).filter(|event| event.sequence.as_str() > after) {
            let event = CloudEvent::structured(&event.body);
            self.events.push(event.map_err(|e| Problem::standard(Standard::Runtime, e.to_string()))?);
        }
        Ok(())
    }
}
