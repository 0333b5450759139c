//! Questions to the owner: may this task be run, what is this value, tell me when this run moves. A question whether a task may be
//! run is answered after everything is folded that the log held when it came.

use std::collections::HashMap;
use std::time::Duration;

use stepmill_protocol::api::RunView;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;
use stepmill_protocol::{AskAnswer, AskRequest, MayRun, Millis, PartitionNo, Problem, RunId};
use tokio::sync::{mpsc, oneshot};

use super::OwnerError;
use super::owner::{Inner, Owner};
use crate::port::bus::{OwnerAnswer, OwnerHandler, OwnerRequest};
use crate::port::queue::QueueError;

/// Questions that wait for the owner's attention; more are refused.
const REQUESTS_MAX: usize = 4_096;

/// How long a task waits whose run's stored state cannot be read.
const BROKEN_WAIT: Millis = Millis(60_000);

/// A question with the place for its answer.
pub(super) type PendingAsk = (AskRequest, oneshot::Sender<AskAnswer>);

/// What comes in from outside.
pub(crate) enum Request {
    Ask(AskRequest, oneshot::Sender<AskAnswer>),
    Watch(RunId, Watcher),
    Holds(oneshot::Sender<()>),
}

/// The owner's door: takes requests from the bus and hands them over.
#[derive(Clone)]
pub(crate) struct Front {
    partition: PartitionNo,
    door: mpsc::Sender<Request>,
}

impl Front {
    pub(crate) fn new(partition: PartitionNo) -> (Self, mpsc::Receiver<Request>) {
        let (door, requests) = mpsc::channel(REQUESTS_MAX);
        (Self { partition, door }, requests)
    }
}

fn busy() -> Problem {
    Problem::standard(Standard::Communication, "the partition's owner is busy or leaving; ask again").with_status(503)
}

impl OwnerHandler for Front {
    fn handle(&self, partition: PartitionNo, request: OwnerRequest) -> BoxFuture<'static, OwnerAnswer> {
        let (door, here) = (self.door.clone(), partition == self.partition);
        Box::pin(async move {
            match request {
                OwnerRequest::Ask(ask) => {
                    let (answer, answered) = oneshot::channel();
                    let taken = here && door.try_send(Request::Ask(ask, answer)).is_ok();
                    let refused = AskAnswer::Refused(busy());
                    OwnerAnswer::Ask(if taken { answered.await.unwrap_or(refused) } else { refused })
                }
                OwnerRequest::Holds => {
                    let (known, seen) = oneshot::channel();
                    if here && door.try_send(Request::Holds(known)).is_ok() {
                        seen.await.ok();
                    }
                    OwnerAnswer::Seen
                }
                OwnerRequest::Watch { run, rev, until_end, even_unknown, wait_ms } => {
                    let (seen, noticed) = oneshot::channel();
                    let watcher = Watcher { rev, until_end, even_unknown, seen };
                    if here && door.try_send(Request::Watch(run, watcher)).is_ok() {
                        // Time out, owner gone or noticed: unless the end is shown, the caller reads the store.
                        let noticed = tokio::time::timeout(Duration::from_millis(wait_ms), noticed).await;
                        if let Ok(Ok(Some(view))) = noticed {
                            return OwnerAnswer::Ended(view);
                        }
                    }
                    OwnerAnswer::Seen
                }
            }
        })
    }
}

/// Somebody who waits until a run moves.
pub(crate) struct Watcher {
    rev: u64,
    until_end: bool,
    even_unknown: bool,
    seen: oneshot::Sender<Option<Box<RunView>>>,
}

/// Who waits for which run.
#[derive(Default)]
pub(super) struct Watchers {
    by_run: HashMap<RunId, Vec<Watcher>>,
    added: usize,
}

/// After this many new ones, those whose caller has left are thrown out.
const WATCHERS_SWEPT_EVERY: usize = 1_024;

impl Watchers {
    fn add(&mut self, run: RunId, watcher: Watcher) {
        self.added += 1;
        if self.added.is_multiple_of(WATCHERS_SWEPT_EVERY) {
            self.by_run.retain(|_, watchers| {
                watchers.retain(|w| !w.seen.is_closed());
                !watchers.is_empty()
            });
        }
        self.by_run.entry(run).or_default().push(watcher);
    }

    /// The run has reached this revision; `end` shows it where it has ended.
    pub(super) fn wake(&mut self, run: RunId, rev: u64, ended: bool, end: impl Fn() -> Option<RunView>) {
        let Some(watchers) = self.by_run.get_mut(&run) else { return };
        let all = std::mem::take(watchers);
        for watcher in all {
            if ended || (!watcher.until_end && rev > watcher.rev) {
                watcher.seen.send(if ended { end().map(Box::new) } else { None }).ok();
            } else if !watcher.seen.is_closed() {
                watchers.push(watcher);
            }
        }
        if watchers.is_empty() {
            self.by_run.remove(&run);
        }
    }
}

impl Owner {
    /// Takes a request and all others that wait; questions share one look at the log's end.
    pub(super) async fn receive(
        &mut self,
        first: Request,
        more: &mut mpsc::Receiver<Request>,
    ) -> Result<(), OwnerError> {
        let mut asks = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Ask(ask, answer) => match ask {
                    AskRequest::MayRun { .. } => asks.push((ask, answer)),
                    AskRequest::Value { .. } => {
                        let given = self.reply_to(&ask).await?;
                        answer.send(given).ok();
                    }
                },
                Request::Watch(run, watcher) => self.watch(run, watcher).await?,
                Request::Holds(known) => {
                    self.look_for_holds().await?;
                    known.send(()).ok();
                }
            }
            next = more.try_recv().ok();
        }
        if !asks.is_empty() {
            let (log, partition, inner) = (self.shared.ports.log.clone(), self.partition, self.inner.clone());
            tokio::spawn(async move {
                let tail = log.tail(partition).await;
                inner.send(Inner::Tail(asks, tail)).ok();
            });
        }
        Ok(())
    }

    async fn watch(&mut self, run: RunId, watcher: Watcher) -> Result<(), OwnerError> {
        self.load(std::iter::once(run)).await?;
        let state = self.cache.get(&run).and_then(|c| c.run.as_ref()).map(|r| (r.rev(), r.state().is_final()));
        if state.is_none() {
            self.cache.remove(&run);
        }
        self.cache.remove_if_done(&run);
        let enough = match state {
            Some((rev, ended)) => ended || (!watcher.until_end && rev > watcher.rev),
            // A run that does not exist yet may be in the log already.
            None => !watcher.even_unknown,
        };
        if enough {
            watcher.seen.send(None).ok();
        } else {
            self.watchers.add(run, watcher);
        }
        Ok(())
    }

    pub(super) async fn tail_known(
        &mut self,
        asks: Vec<PendingAsk>,
        tail: Result<u64, QueueError>,
    ) -> Result<(), OwnerError> {
        match tail {
            Ok(tail) => self.asks.extend(asks.into_iter().map(|ask| (tail, ask))),
            Err(error) => {
                // Without the log's end nothing can be said for sure; the worker asks again.
                tracing::debug!(partition = %self.partition, %error, "cannot see the log's end");
                for (_, answer) in asks {
                    answer.send(AskAnswer::Refused(busy())).ok();
                }
            }
        }
        self.answer_asks().await
    }

    /// Answers the questions whose position is reached.
    pub(super) async fn answer_asks(&mut self) -> Result<(), OwnerError> {
        if self.quiet_until.is_some() || self.asks.is_empty() {
            return Ok(());
        }
        let cursor = self.cursor.seq;
        let (known, wait): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.asks).into_iter().partition(|(tail, _)| *tail <= cursor);
        self.asks = wait;
        self.load(known.iter().map(|(_, (ask, _))| run_of(ask))).await?;
        for (_, (ask, answer)) in known {
            let given = self.reply_to(&ask).await?;
            match ask {
                AskRequest::MayRun { id, .. } if matches!(given, AskAnswer::MayRun(MayRun::Run { .. })) => {
                    self.let_run(id, given, answer);
                }
                AskRequest::MayRun { .. } | AskRequest::Value { .. } => drop(answer.send(given)),
            }
        }
        Ok(())
    }

    async fn reply_to(&mut self, ask: &AskRequest) -> Result<AskAnswer, OwnerError> {
        let id = run_of(ask);
        self.load(std::iter::once(id)).await?;
        let now = self.shared.clock.now();
        if self.cache.get(&id).is_some_and(|c| c.broken.is_some()) {
            return Ok(AskAnswer::MayRun(MayRun::Wait { delay: BROKEN_WAIT }));
        }
        let Some(run) = self.cache.get(&id).and_then(|c| c.run.as_ref()) else {
            self.cache.remove(&id);
            return Ok(AskAnswer::MayRun(MayRun::Stale));
        };
        let answer = match ask {
            AskRequest::MayRun { id, token } => AskAnswer::MayRun(run.may_run(id, token, now)),
            AskRequest::Value { id, token, value } => match run.value_for(id, token, *value) {
                Ok(value) => AskAnswer::Value(value.as_ref().clone()),
                Err(problem) => AskAnswer::Refused(problem),
            },
        };
        self.cache.remove_if_done(&id);
        Ok(answer)
    }
}

fn run_of(ask: &AskRequest) -> RunId {
    match ask {
        AskRequest::MayRun { id, .. } | AskRequest::Value { id, .. } => id.run,
    }
}
