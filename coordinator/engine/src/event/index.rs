//! Which runs of a partition may be waiting for an event. An event is held once against each definition that listens, not against
//! each run: runs that expect certain values are found by the digest of those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepmill_definition::expression::budget;
use stepmill_definition::plan::{Filter, NodeId, NodeKind, Plan};
use stepmill_protocol::{CloudEvent, Digest, Namespace, RunId, Timestamp};

use super::matching::{fits_alone, found};
use crate::bin::Bin;
use crate::run::Run;

/// Runs, in order.
pub type Candidates = BTreeSet<RunId>;

/// Where a filter stands.
type Spot = (Digest, NodeId, usize);

/// The listening runs of a partition.
#[derive(Debug, Default)]
pub struct Listeners {
    spots: BTreeMap<Spot, Group>,
    /// Filters by the event type that they want; none: they take several.
    kinds: BTreeMap<(Namespace, Option<Arc<str>>), BTreeSet<Spot>>,
    runs: BTreeMap<RunId, Listening>,
}

/// The runs that listen with one filter.
#[derive(Debug)]
struct Group {
    plan: Arc<Plan>,
    /// By what they expect.
    expecting: BTreeMap<Vec<Bin<16>>, BTreeSet<RunId>>,
    /// Those that take whatever comes first.
    open: BTreeSet<RunId>,
}

#[derive(Debug)]
struct Listening {
    /// Since when its oldest task listens.
    since: Timestamp,
    /// The last number of a frame that listens: a higher one is new.
    newest: u64,
    spots: Vec<(Spot, Option<Vec<Bin<16>>>)>,
}

/// One filter of a task that listens, as its run sees it.
pub(crate) struct Ear {
    pub(crate) frame: u64,
    pub(crate) since: Timestamp,
    pub(crate) node: NodeId,
    pub(crate) filter: usize,
    /// What it expects, in the order of [`found`]; none while a first event decides.
    pub(crate) expects: Option<Vec<Bin<16>>>,
}

impl Listeners {
    /// Whether nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Since when the oldest of them listens.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.runs.values().map(|l| l.since).min()
    }

    /// Whether a run is known to listen.
    #[must_use]
    pub fn knows(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Since when a task of the run listens that is not known yet: events from then on are still to be held against it.
    #[must_use]
    pub fn fresh_since(&self, run: &Run) -> Option<Timestamp> {
        let newest = self.runs.get(&run.id()).map_or(0, |l| l.newest);
        run.ears_above(newest)
    }

    /// Takes a run in as it is now, or lets it go when it does not listen (any more).
    pub fn set(&mut self, run: &Run, plan: &Arc<Plan>) {
        self.remove(run.id());
        let ears = run.ears(plan);
        let (Some(since), Some(newest)) = (ears.iter().map(|e| e.since).min(), ears.iter().map(|e| e.frame).max())
        else {
            return;
        };
        let mut spots = Vec::with_capacity(ears.len());
        for Ear { node, filter, expects, .. } in ears {
            let spot = (plan.digest.clone(), node, filter);
            let Some(of) = filter_at(plan, node, filter) else { continue };
            let group = self.spots.entry(spot.clone()).or_insert_with(|| {
                let key = (plan.namespace.clone(), of.kind.clone());
                self.kinds.entry(key).or_default().insert(spot.clone());
                Group { plan: Arc::clone(plan), expecting: BTreeMap::new(), open: BTreeSet::new() }
            });
            match &expects {
                Some(expects) => group.expecting.entry(expects.clone()).or_default().insert(run.id()),
                None => group.open.insert(run.id()),
            };
            spots.push((spot, expects));
        }
        self.runs.insert(run.id(), Listening { since, newest, spots });
    }

    /// Lets a run go.
    pub fn remove(&mut self, run: RunId) {
        let Some(listening) = self.runs.remove(&run) else { return };
        for (spot, expects) in listening.spots {
            let Some(group) = self.spots.get_mut(&spot) else { continue };
            match expects {
                Some(expects) => {
                    if let Some(runs) = group.expecting.get_mut(&expects) {
                        runs.remove(&run);
                        if runs.is_empty() {
                            group.expecting.remove(&expects);
                        }
                    }
                }
                None => drop(group.open.remove(&run)),
            }
            if group.open.is_empty() && group.expecting.is_empty() {
                let kind = filter_at(&group.plan, spot.1, spot.2).and_then(|f| f.kind.clone());
                let key = (group.plan.namespace.clone(), kind);
                if let Some(spots) = self.kinds.get_mut(&key) {
                    spots.remove(&spot);
                    if spots.is_empty() {
                        self.kinds.remove(&key);
                    }
                }
                self.spots.remove(&spot);
            }
        }
    }

    /// The runs that may be waiting for an event of this namespace; each has to be asked ([`Run::takes`]).
    #[must_use]
    pub fn candidates(&self, namespace: &Namespace, event: &CloudEvent) -> Candidates {
        let mut candidates = Candidates::new();
        let kind = Some(Arc::from(event.kind()));
        for key in [(namespace.clone(), kind), (namespace.clone(), None)] {
            for spot in self.kinds.get(&key).into_iter().flatten() {
                let Some(group) = self.spots.get(spot) else { continue };
                let Some(filter) = filter_at(&group.plan, spot.1, spot.2) else { continue };
                let asked = budget::filter(|| match fits_alone(filter, event)? {
                    true => found(filter, event),
                    false => Ok(None),
                });
                match asked {
                    Ok(Some(values)) => {
                        candidates.extend(group.expecting.get(&values).into_iter().flatten().chain(&group.open));
                    }
                    Ok(None) => {}
                    // It cannot be asked: the task fails in each of its runs.
                    Err(_) => candidates.extend(group.expecting.values().flatten().chain(&group.open)),
                }
            }
        }
        candidates
    }
}

fn filter_at(plan: &Plan, node: NodeId, filter: usize) -> Option<&Filter> {
    match &plan.get(node)?.kind {
        NodeKind::Listen(listen) => listen.events.filters.get(filter),
        NodeKind::Do { .. }
        | NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Try { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Call(_) => None,
    }
}
