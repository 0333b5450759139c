//! Life-cycle events, after the commit: what a batch did is stored with it, told beside the owner's loop, and forgotten with a later
//! commit. An owner that takes over tells again what is stored; each event has an id that follows from its run, so whoever hears it
//! twice can see that.

use std::collections::VecDeque;

use bytes::Bytes;
use stepmill_definition::plan::Plan;
use stepmill_engine::Told;
use stepmill_protocol::{Timestamp, codec};

use super::OwnerError;
use super::owner::{Inner, Owner};
use super::recover::is_rebuilding;
use crate::port::life::LifeMessage;
use crate::port::store::{Commit, Cursor, ToldKey};

/// How long to wait before events are told again that were not.
const AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(500);
/// While a partition is folded again from the log, what is older than this is not told again. It was, unless nobody owned the
/// partition for all that time.
const OLD: u64 = 10 * 60 * 1000;
/// Batches told at a time.
const TOGETHER: usize = 64;

/// Events on their way, in order.
#[derive(Default)]
pub(super) struct Tales {
    waiting: VecDeque<(ToldKey, Vec<Told>)>,
    busy: bool,
    /// Told, and still stored.
    done: Vec<ToldKey>,
}

impl Owner {
    /// Whether events of this moment in a run of this plan are to be told.
    pub(super) fn tells(&self, plan: &Plan, at: Timestamp) -> bool {
        self.shared.config.life_events
            && self.shared.ports.life.is_wanted(&plan.namespace, &plan.name)
            && !(is_rebuilding(Some(&self.cursor)) && self.shared.clock.now().since(at).0 > OLD)
    }

    /// What a commit stores, and what it forgets.
    pub(super) fn tales_of(&mut self, commit: &mut Commit, told: &[Told]) -> Result<(), OwnerError> {
        if !told.is_empty() {
            commit.told_put = Some((key(&commit.to), codec::pack(&told)?));
        }
        commit.told_drop = std::mem::take(&mut self.tales.done);
        Ok(())
    }

    /// Tells what a committed batch did.
    pub(super) fn tell(&mut self, told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        self.tales.waiting.push_back((key(&self.cursor), told));
        self.tell_next();
    }

    /// Tells again what an earlier owner may not have told.
    pub(super) async fn tell_again(&mut self) -> Result<(), OwnerError> {
        for (key, bytes) in self.shared.ports.store.told(self.partition).await? {
            match codec::unpack(&bytes) {
                Ok(told) => self.tales.waiting.push_back((key, told)),
                Err(error) => {
                    tracing::error!(partition = %self.partition, %error, "stored life-cycle events cannot be read; they are left out");
                    self.tales.done.push(key);
                }
            }
        }
        self.tell_next();
        Ok(())
    }

    fn tell_next(&mut self) {
        if self.tales.busy || self.tales.waiting.is_empty() {
            return;
        }
        let count = self.tales.waiting.len().min(TOGETHER);
        let batches: Vec<(ToldKey, Vec<Told>)> = self.tales.waiting.drain(..count).collect();
        self.tales.busy = true;
        let (life, partition, inner) = (self.shared.ports.life.clone(), self.partition, self.inner.clone());
        tokio::spawn(async move {
            let (keys, told): (Vec<ToldKey>, Vec<Vec<Told>>) = batches.into_iter().unzip();
            let messages: Vec<LifeMessage> = told.iter().flatten().flat_map(messages).collect();
            // The owner may be gone; the next one tells what is stored.
            while !inner.is_closed() {
                match life.tell(messages.clone()).await {
                    Ok(()) => break,
                    Err(error) if error.retryable => {
                        tracing::warn!(%partition, %error, "life-cycle events were not told; trying again");
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                    Err(error) => {
                        tracing::error!(%partition, %error, "life-cycle events cannot be told and are left out");
                        break;
                    }
                }
            }
            inner.send(Inner::Told(keys)).ok();
        });
    }

    /// These were told: a later commit forgets them.
    pub(super) fn told(&mut self, keys: Vec<ToldKey>) {
        self.tales.busy = false;
        self.tales.done.extend(keys);
        self.tell_next();
    }

    /// Forgets what was told where nothing else is committed.
    pub(super) async fn forget_told(&mut self) -> Result<(), OwnerError> {
        if self.tales.done.is_empty() {
            return Ok(());
        }
        let mut commit = self.start(self.cursor.clone(), self.cursor.clone());
        commit.told_drop = std::mem::take(&mut self.tales.done);
        self.shared.ports.store.commit(commit).await?;
        Ok(())
    }
}

fn messages(told: &Told) -> impl Iterator<Item = LifeMessage> + use<'_> {
    told.events().into_iter().map(|event| LifeMessage {
        namespace: told.namespace.clone(),
        workflow: told.workflow.clone(),
        run: told.run,
        body: Bytes::from(event.body),
    })
}

/// The batch that ends at a cursor.
fn key(cursor: &Cursor) -> ToldKey {
    ToldKey { incarnation: cursor.incarnation, seq: cursor.seq }
}
