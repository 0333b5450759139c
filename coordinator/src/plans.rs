//! Compiled plans by digest. A definition is compiled once per process; where the store was emptied it is filled again from
//! the archive.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stepmill_definition::plan::Plan;
use stepmill_protocol::Digest;

use crate::port::queue::{Archive, QueueError};
use crate::port::store::{Store, StoreError};

/// Plans kept in memory; beyond it one makes room for the next.
const PLANS_CACHED_MAX: usize = 1_000;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the definition {0} is not registered")]
    Unknown(Digest),
    #[error("the definition {0} does not compile with this version: {1}")]
    Broken(Digest, String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The plans of this process.
pub(crate) struct Plans {
    store: Arc<dyn Store>,
    archive: Arc<dyn Archive>,
    cache: Mutex<HashMap<Digest, Arc<Plan>>>,
}

impl Plans {
    pub(crate) fn new(store: Arc<dyn Store>, archive: Arc<dyn Archive>) -> Self {
        Self { store, archive, cache: Mutex::default() }
    }

    /// A plan that is in memory already.
    pub(crate) fn cached(&self, digest: &Digest) -> Option<Arc<Plan>> {
        self.cache.lock().get(digest).cloned()
    }

    /// Keeps a plan that was compiled elsewhere (by `define`).
    pub(crate) fn keep(&self, plan: Arc<Plan>) {
        let mut cache = self.cache.lock();
        if cache.len() >= PLANS_CACHED_MAX
            && let Some(any) = cache.keys().next().cloned()
        {
            cache.remove(&any);
        }
        cache.insert(plan.digest.clone(), plan);
    }

    /// The plan with this digest.
    pub(crate) async fn get(&self, digest: &Digest) -> Result<Arc<Plan>, PlanError> {
        if let Some(plan) = self.cached(digest) {
            return Ok(plan);
        }
        let stored = match self.store.definition(digest).await? {
            Some(stored) => stored,
            None => {
                self.refill().await?;
                self.store.definition(digest).await?.ok_or_else(|| PlanError::Unknown(digest.clone()))?
            }
        };
        let compiled = stepmill_definition::compile(&stored.source)
            .map_err(|e| PlanError::Broken(digest.clone(), e.to_string()))?;
        let plan = Arc::new(compiled.plan);
        self.keep(plan.clone());
        Ok(plan)
    }

    /// Copies all archived definitions into the store (it was emptied).
    pub(crate) async fn refill(&self) -> Result<(), PlanError> {
        for definition in self.archive.definitions().await? {
            self.store.put_definition(&definition).await?;
        }
        Ok(())
    }
}
