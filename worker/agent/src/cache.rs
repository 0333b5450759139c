//! Answers that are kept for those who ask the same again: the port, and the place in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stepmill_protocol::link::BoxFuture;
use stepmill_worker_engine::model::ModelAnswer;
use tokio::time::Instant;

/// Keeps answers by the address of their request. A cache that fails has no answer; it never fails a call.
pub trait AnswerCache: Send + Sync {
    /// The answer at this address, as long as it lives.
    fn get<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Option<ModelAnswer>>;

    /// Keeps an answer for so long.
    fn put(&self, address: String, answer: ModelAnswer, life: Duration) -> BoxFuture<'_, ()>;
}

/// How often the cache helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Answers that were there.
    pub hits: u64,
    /// Answers that were not.
    pub misses: u64,
}

/// Keeps answers in this process, at most so many and so many bytes. The longest unused go first.
pub struct MemoryCache {
    entries_max: usize,
    bytes_max: usize,
    shelf: Mutex<Shelf>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
struct Shelf {
    kept: BTreeMap<String, Kept>,
    /// Addresses by when they were last used.
    order: BTreeSet<(u64, String)>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    answer: ModelAnswer,
    until: Instant,
    used: u64,
    bytes: usize,
}

impl std::fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryCache").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl MemoryCache {
    /// An empty one.
    #[must_use]
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries_max,
            bytes_max,
            shelf: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
        }
    }

    /// How often it helped so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        CacheCounts { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }
}

impl AnswerCache for MemoryCache {
    fn get<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Option<ModelAnswer>> {
        Box::pin(async move {
            let found = self.shelf.lock().take(address, Instant::now());
            let counter = if found.is_some() { &self.hits } else { &self.misses };
            counter.fetch_add(1, Ordering::Relaxed);
            found
        })
    }

    fn put(&self, address: String, answer: ModelAnswer, life: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let bytes = serde_json::to_vec(&answer).map_or(0, |bytes| bytes.len()) + address.len();
            let Some(until) = Instant::now().checked_add(life) else { return };
            let mut shelf = self.shelf.lock();
            shelf.put(address, Kept { answer, until, used: 0, bytes });
            shelf.shrink(self.entries_max, self.bytes_max);
        })
    }
}

impl Shelf {
    fn take(&mut self, address: &str, now: Instant) -> Option<ModelAnswer> {
        if self.kept.get(address)?.until <= now {
            self.remove(address);
            return None;
        }
        self.uses += 1;
        let kept = self.kept.get_mut(address)?;
        self.order.remove(&(kept.used, address.to_owned()));
        kept.used = self.uses;
        self.order.insert((kept.used, address.to_owned()));
        Some(kept.answer.clone())
    }

    fn put(&mut self, address: String, mut kept: Kept) {
        self.remove(&address);
        self.uses += 1;
        kept.used = self.uses;
        self.bytes += kept.bytes;
        self.order.insert((kept.used, address.clone()));
        self.kept.insert(address, kept);
    }

    fn remove(&mut self, address: &str) {
        if let Some(kept) = self.kept.remove(address) {
            self.bytes -= kept.bytes;
            self.order.remove(&(kept.used, address.to_owned()));
        }
    }

    fn shrink(&mut self, entries_max: usize, bytes_max: usize) {
        while self.kept.len() > entries_max || self.bytes > bytes_max {
            let Some((_, address)) = self.order.first().cloned() else { return };
            self.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use stepmill_worker_engine::model::{Said, Stop, Tokens};

    use super::*;

    fn answer(text: &str) -> ModelAnswer {
        let content = vec![Said::Text { text: text.into() }];
        ModelAnswer { model: "m".into(), content, stop: Stop::End, tokens: Tokens::default(), refusal: None }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn answers_live_as_long_as_they_should() {
        let cache = MemoryCache::new(10, 10_000);
        assert_eq!(cache.get("a").await, None);
        cache.put("a".into(), answer("one"), HOUR).await;
        tokio::time::advance(HOUR / 2).await;
        assert_eq!(cache.get("a").await, Some(answer("one")));
        tokio::time::advance(HOUR / 2).await;
        assert_eq!(cache.get("a").await, None);
        assert_eq!(cache.counts(), CacheCounts { hits: 1, misses: 2 });
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_unused_go_first() {
        let cache = MemoryCache::new(2, 10_000);
        for name in ["a", "b"] {
            cache.put(name.into(), answer(name), HOUR).await;
        }
        assert!(cache.get("a").await.is_some());
        cache.put("c".into(), answer("c"), HOUR).await;
        assert!(cache.get("a").await.is_some() && cache.get("b").await.is_none() && cache.get("c").await.is_some());
        let small = MemoryCache::new(10, 400);
        small.put("a".into(), answer(&"x".repeat(100)), HOUR).await;
        small.put("b".into(), answer(&"x".repeat(100)), HOUR).await;
        small.put("b".into(), answer("short"), HOUR).await;
        small.put("large".into(), answer(&"x".repeat(1_000)), HOUR).await;
        assert_eq!(small.get("large").await, None, "larger than everything");
        let shelf = small.shelf.lock();
        assert_eq!((shelf.bytes, shelf.order.len()), (0, 0));
    }
}
