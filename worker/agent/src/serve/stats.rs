//! What the server has seen and given, for tests that count.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stepmill_worker_engine::model::{ModelAnswer, ModelRequest};

use crate::limit;

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that came.
    pub requests: u64,
    /// Of these, refused because they were not as they should be.
    pub refused: u64,
    /// Of these, met by a fault: 429, 5xx.
    pub faults: u64,
    /// Of these, answered.
    pub answers: u64,
    /// Of these answers, broken off in the middle.
    pub cut: u64,
    /// Tokens read for answers.
    pub tokens_in: u64,
    /// Tokens written in answers.
    pub tokens_out: u64,
    /// The most requests that were under way at a time.
    pub at_once: u64,
    /// The last reasons for refusals.
    pub refusals: Vec<String>,
    /// By idempotency key; the first that came.
    pub keys: BTreeMap<String, KeyStats>,
}

/// The counts of one idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStats {
    /// Requests that came with it.
    pub requests: u64,
    /// Of these, answered to their end.
    pub answers: u64,
}

/// Keeps the counts.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    stats: Stats,
    under_way: u64,
    tries: BTreeMap<String, u32>,
}

/// A request that is under way.
pub(super) struct Busy<'l>(&'l Ledger);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.0.lock().under_way -= 1;
    }
}

impl Ledger {
    pub(super) fn begin(&self, key: &str) -> Busy<'_> {
        let mut book = self.0.lock();
        book.under_way += 1;
        book.stats.requests += 1;
        book.stats.at_once = book.stats.at_once.max(book.under_way);
        if let Some(stats) = book.key(key) {
            stats.requests += 1;
        }
        Busy(self)
    }

    /// How often this very request has come with this key, this time included: the number of the try.
    pub(super) fn tries(&self, key: &str, request: &ModelRequest) -> u32 {
        let mut book = self.0.lock();
        if book.tries.len() >= limit::SERVED_REQUESTS_MAX {
            book.tries.clear();
        }
        let tries = book.tries.entry(format!("{key} {}", crate::address::of(request))).or_default();
        *tries += 1;
        *tries
    }

    pub(super) fn refuse(&self, why: &str) {
        let stats = &mut self.0.lock().stats;
        stats.refused += 1;
        if stats.refusals.len() >= limit::SERVED_REFUSALS_MAX {
            stats.refusals.remove(0);
        }
        stats.refusals.push(why.to_owned());
    }

    pub(super) fn fault(&self) {
        self.0.lock().stats.faults += 1;
    }

    pub(super) fn answered(&self, key: &str, answer: &ModelAnswer, cut: bool) {
        let mut book = self.0.lock();
        book.stats.answers += 1;
        book.stats.cut += u64::from(cut);
        book.stats.tokens_in += answer.tokens.input;
        book.stats.tokens_out += answer.tokens.output;
        if let Some(stats) = book.key(key) {
            stats.answers += u64::from(!cut);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.0.lock().stats.clone()
    }
}

impl Book {
    fn key(&mut self, key: &str) -> Option<&mut KeyStats> {
        let keys = &mut self.stats.keys;
        let room = keys.len() < limit::SERVED_KEYS_MAX;
        (!key.is_empty() && (room || keys.contains_key(key))).then(|| keys.entry(key.to_owned()).or_default())
    }
}
