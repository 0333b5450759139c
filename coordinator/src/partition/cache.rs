//! Live runs in the owner's memory: written to the store, but read from it only after a takeover or an eviction.

use std::collections::HashMap;
use std::sync::Arc;

use stepmill_definition::plan::Plan;
use stepmill_engine::Run;
use stepmill_protocol::RunId;
use stepmill_protocol::api::RunState;

/// A run as the owner knows it.
pub(super) struct Cached {
    /// The run; none where it does not exist (yet).
    pub(super) run: Option<Run>,
    /// Its plan; none where it does not exist or its plan cannot be had.
    pub(super) plan: Option<Arc<Plan>>,
    /// The state under which it stands in the store's indexes; none where it is not stored.
    pub(super) stored: Option<RunState>,
    /// Why its stored state cannot be read. It is left alone until somebody repairs it; the other runs go on.
    pub(super) broken: Option<String>,
    used: u64,
}

/// The runs in memory, at most `max`; those not used for longest leave first.
pub(super) struct Cache {
    runs: HashMap<RunId, Cached>,
    tick: u64,
    max: usize,
}

impl Cache {
    pub(super) fn new(max: usize) -> Self {
        Self { runs: HashMap::new(), tick: 0, max: max.max(1) }
    }

    pub(super) fn insert(&mut self, id: RunId, run: Option<Run>, plan: Option<Arc<Plan>>, stored: Option<RunState>) {
        self.tick += 1;
        self.runs.insert(id, Cached { run, plan, stored, broken: None, used: self.tick });
    }

    pub(super) fn insert_broken(&mut self, id: RunId, reason: String) {
        self.tick += 1;
        self.runs.insert(id, Cached { run: None, plan: None, stored: None, broken: Some(reason), used: self.tick });
    }

    /// Whether the run need not be loaded. One whose plan could not be had is loaded again: it may have been registered meanwhile.
    pub(super) fn is_usable(&self, id: &RunId) -> bool {
        self.runs.get(id).is_some_and(|c| c.run.is_none() || c.plan.is_some())
    }

    /// Lets a run go for which nothing more has to be done: what the store still holds of it is only read again if somebody asks.
    pub(super) fn remove_if_done(&mut self, id: &RunId) {
        if self.runs.get(id).and_then(|c| c.run.as_ref()).is_some_and(stepmill_engine::Run::is_done) {
            self.runs.remove(id);
        }
    }

    pub(super) fn get_mut(&mut self, id: &RunId) -> Option<&mut Cached> {
        self.tick += 1;
        let tick = self.tick;
        let cached = self.runs.get_mut(id)?;
        cached.used = tick;
        Some(cached)
    }

    pub(super) fn get(&self, id: &RunId) -> Option<&Cached> {
        self.runs.get(id)
    }

    pub(super) fn remove(&mut self, id: &RunId) {
        self.runs.remove(id);
    }

    /// Lets the oldest eighth go when there are too many. Only called between batches, when everything is committed.
    pub(super) fn trim(&mut self) {
        if self.runs.len() <= self.max {
            return;
        }
        let mut ages: Vec<u64> = self.runs.values().map(|c| c.used).collect();
        let cut = ages.len() - (self.max - self.max / 8);
        let (_, limit, _) = ages.select_nth_unstable(cut);
        let limit = *limit;
        self.runs.retain(|_, c| c.used >= limit);
    }
}
